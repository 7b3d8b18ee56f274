CREATE TYPE alert_condition_type AS ENUM ('threshold', 'anomaly', 'absence');

CREATE TYPE goal_track_method AS ENUM ('data_attribute', 'javascript', 'page_url');

CREATE TYPE member_role AS ENUM ('owner', 'admin', 'member', 'viewer');

CREATE TABLE accounts (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    email character varying(255) NOT NULL,
    password_hash character varying(255) NOT NULL,
    name character varying(255) DEFAULT ''::character varying NOT NULL,
    avatar_url character varying(500),
    timezone character varying(64) DEFAULT 'UTC'::character varying NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    email_verified boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    last_login_at timestamp with time zone,
    currency character varying(3) DEFAULT ''::character varying NOT NULL,
    CONSTRAINT accounts_currency_check CHECK (((currency)::text ~ '^([A-Z]{3})?$'::text)),
    CONSTRAINT accounts_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX accounts_email_key ON accounts USING btree (lower((email)::text));
CREATE TRIGGER accounts_touch_updated_at BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE alert_channels (
    rule_id uuid NOT NULL,
    channel_key text NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    failing_since timestamp with time zone,
    disabled_at timestamp with time zone,
    last_error text,
    CONSTRAINT alert_channels_pkey PRIMARY KEY (rule_id, channel_key),
    CONSTRAINT alert_channels_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES alert_rules(id) ON DELETE CASCADE
);

CREATE TABLE alert_deliveries (
    id uuid NOT NULL,
    sequence bigint NOT NULL,
    history_id uuid NOT NULL,
    alert_id uuid NOT NULL,
    rule_id uuid NOT NULL,
    scope text NOT NULL,
    channel_key text NOT NULL,
    channel_type text NOT NULL,
    lane text NOT NULL,
    kind text NOT NULL,
    message jsonb NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone NOT NULL,
    leased_until timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    sent_at timestamp with time zone,
    last_status smallint,
    last_error text,
    leased_by integer,
    CONSTRAINT alert_deliveries_channel_type_check CHECK ((channel_type = ANY (ARRAY['telegram'::text, 'webhook'::text]))),
    CONSTRAINT alert_deliveries_history_id_fkey FOREIGN KEY (history_id) REFERENCES alert_history(id) ON DELETE CASCADE,
    CONSTRAINT alert_deliveries_kind_check CHECK ((kind = ANY (ARRAY['fired'::text, 'still_firing'::text, 'resolved'::text, 'channel_disabled'::text]))),
    CONSTRAINT alert_deliveries_message_check CHECK ((jsonb_typeof(message) = 'object'::text)),
    CONSTRAINT alert_deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT alert_deliveries_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'sent'::text, 'failed'::text, 'suppressed'::text, 'cancelled'::text])))
);
CREATE INDEX alert_deliveries_alert_id_idx ON alert_deliveries USING btree (alert_id, channel_key);
CREATE INDEX alert_deliveries_group_idx ON alert_deliveries USING btree (rule_id, scope, channel_key) WHERE (status = 'pending'::text);
CREATE INDEX alert_deliveries_history_id_idx ON alert_deliveries USING btree (history_id);
CREATE INDEX alert_deliveries_lane_idx ON alert_deliveries USING btree (lane, next_attempt_at, sequence) WHERE (status = 'pending'::text);
CREATE INDEX alert_deliveries_leased_idx ON alert_deliveries USING btree (leased_until) WHERE ((status = 'pending'::text) AND (leased_until IS NOT NULL));

CREATE TABLE alert_history (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    rule_id uuid,
    project_id uuid NOT NULL,
    triggered_at timestamp with time zone DEFAULT now() NOT NULL,
    resolved_at timestamp with time zone,
    metric_value double precision,
    threshold double precision,
    context jsonb DEFAULT '{}'::jsonb NOT NULL,
    notification_sent boolean DEFAULT false NOT NULL,
    notification_error text,
    alert_id uuid,
    kind text DEFAULT 'fired'::text NOT NULL,
    suppressed_by text DEFAULT ''::text NOT NULL,
    scope text DEFAULT '{}'::text NOT NULL,
    severity text DEFAULT ''::text NOT NULL,
    is_late boolean DEFAULT false NOT NULL,
    CONSTRAINT alert_history_context_check CHECK ((jsonb_typeof(context) = 'object'::text)),
    CONSTRAINT alert_history_kind_check CHECK ((kind = ANY (ARRAY['fired'::text, 'still_firing'::text, 'suppressed'::text, 'held'::text]))),
    CONSTRAINT alert_history_pkey PRIMARY KEY (id),
    CONSTRAINT alert_history_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
    CONSTRAINT alert_history_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES alert_rules(id) ON DELETE SET NULL,
    CONSTRAINT alert_history_suppressed_by_check CHECK ((suppressed_by = ANY (ARRAY[''::text, 'cooldown'::text, 'mute'::text])))
);
CREATE INDEX alert_history_alert_id_idx ON alert_history USING btree (alert_id);
CREATE INDEX alert_history_project_id_triggered_at_idx ON alert_history USING btree (project_id, triggered_at);
CREATE INDEX alert_history_rule_id_idx ON alert_history USING btree (rule_id);

CREATE TABLE alert_lanes (
    lane text NOT NULL,
    held_until timestamp with time zone NOT NULL,
    CONSTRAINT alert_lanes_pkey PRIMARY KEY (lane)
);

CREATE TABLE alert_rules (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id uuid NOT NULL,
    name character varying(255) NOT NULL,
    description text,
    condition_type alert_condition_type DEFAULT 'threshold'::alert_condition_type NOT NULL,
    condition jsonb NOT NULL,
    channels jsonb DEFAULT '[]'::jsonb NOT NULL,
    cooldown_mins integer DEFAULT 15 NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    created_by uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    last_triggered timestamp with time zone,
    muted_until timestamp with time zone,
    runbook_url character varying(2048),
    CONSTRAINT alert_rules_channels_check CHECK ((jsonb_typeof(channels) = 'array'::text)),
    CONSTRAINT alert_rules_condition_check CHECK ((jsonb_typeof(condition) = 'object'::text)),
    CONSTRAINT alert_rules_cooldown_mins_check CHECK (((cooldown_mins >= 0) AND (cooldown_mins <= 1440))),
    CONSTRAINT alert_rules_created_by_fkey FOREIGN KEY (created_by) REFERENCES accounts(id) ON DELETE SET NULL,
    CONSTRAINT alert_rules_name_check CHECK (((name)::text <> ''::text)),
    CONSTRAINT alert_rules_pkey PRIMARY KEY (id),
    CONSTRAINT alert_rules_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE
);
CREATE INDEX alert_rules_created_by_idx ON alert_rules USING btree (created_by);
CREATE INDEX alert_rules_project_id_idx ON alert_rules USING btree (project_id);
CREATE TRIGGER alert_rules_touch_updated_at BEFORE UPDATE OF name, description, condition_type, condition, channels, cooldown_mins, is_active, runbook_url ON alert_rules FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE alert_states (
    rule_id uuid NOT NULL,
    scope text NOT NULL,
    last_at timestamp with time zone NOT NULL,
    last_kind text NOT NULL,
    alert_id uuid NOT NULL,
    row_id uuid,
    row_kind text DEFAULT ''::text NOT NULL,
    told_at timestamp with time zone,
    cooldown_until timestamp with time zone,
    cooldown_row uuid,
    CONSTRAINT alert_states_pkey PRIMARY KEY (rule_id, scope),
    CONSTRAINT alert_states_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES alert_rules(id) ON DELETE CASCADE
);

CREATE TABLE api_keys (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id uuid NOT NULL,
    key_hash character varying(64) NOT NULL,
    key_prefix character varying(24) NOT NULL,
    name character varying(255) DEFAULT 'Default'::character varying NOT NULL,
    permissions text[] DEFAULT '{write}'::text[] NOT NULL,
    rate_limit integer DEFAULT 1000 NOT NULL,
    burst integer DEFAULT 5000 NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    revoked_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    request_count bigint DEFAULT 0 NOT NULL,
    CONSTRAINT api_keys_burst_check CHECK ((burst > 0)),
    CONSTRAINT api_keys_key_hash_check CHECK (((key_hash)::text ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash),
    CONSTRAINT api_keys_permissions_check CHECK ((permissions <@ ARRAY['write'::text, 'read'::text, 'admin'::text])),
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
    CONSTRAINT api_keys_rate_limit_check CHECK ((rate_limit > 0))
);
CREATE INDEX api_keys_project_id_idx ON api_keys USING btree (project_id);

CREATE TABLE api_tokens (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    account_id uuid NOT NULL,
    token_hash character varying(64) NOT NULL,
    token_prefix character varying(8) NOT NULL,
    name character varying(255) NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    CONSTRAINT api_tokens_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id) ON DELETE CASCADE,
    CONSTRAINT api_tokens_name_check CHECK (((name)::text <> ''::text)),
    CONSTRAINT api_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT api_tokens_scopes_check CHECK (((scopes <@ ARRAY['read'::text, 'write'::text]) AND (scopes <> '{}'::text[]))),
    CONSTRAINT api_tokens_token_hash_check CHECK (((token_hash)::text ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT api_tokens_token_hash_key UNIQUE (token_hash)
);
CREATE INDEX api_tokens_account_id_idx ON api_tokens USING btree (account_id);

CREATE TABLE audit_log (
    id bigint NOT NULL,
    project_id uuid NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor_id uuid,
    action text NOT NULL,
    target text DEFAULT ''::text NOT NULL,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT audit_log_details_check CHECK ((jsonb_typeof(details) = 'object'::text)),
    CONSTRAINT audit_log_pkey PRIMARY KEY (id)
);
CREATE INDEX audit_log_at_idx ON audit_log USING btree (at);
CREATE INDEX audit_log_project_id_idx ON audit_log USING btree (project_id, id);

CREATE TABLE auth_sessions (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    account_id uuid NOT NULL,
    token_hash character varying(64) NOT NULL,
    ip inet,
    user_agent character varying(512) DEFAULT ''::character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT auth_sessions_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id) ON DELETE CASCADE,
    CONSTRAINT auth_sessions_pkey PRIMARY KEY (id),
    CONSTRAINT auth_sessions_token_hash_check CHECK (((token_hash)::text ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT auth_sessions_token_hash_key UNIQUE (token_hash)
);
CREATE INDEX auth_sessions_account_id_idx ON auth_sessions USING btree (account_id);

CREATE TABLE erased_ids (
    project_id uuid NOT NULL,
    kind text NOT NULL,
    id_hash character varying(64) NOT NULL,
    erased_before timestamp with time zone NOT NULL,
    CONSTRAINT erased_ids_id_hash_check CHECK (((id_hash)::text ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT erased_ids_kind_check CHECK ((kind = ANY (ARRAY['visitor'::text, 'session'::text]))),
    CONSTRAINT erased_ids_pkey PRIMARY KEY (project_id, kind, id_hash)
);
CREATE INDEX erased_ids_erased_before_idx ON erased_ids USING btree (erased_before);

CREATE TABLE erasure_salts (
    project_id uuid NOT NULL,
    salt bytea NOT NULL,
    CONSTRAINT erasure_salts_pkey PRIMARY KEY (project_id),
    CONSTRAINT erasure_salts_salt_check CHECK ((length(salt) = 32))
);

CREATE TABLE erasure_version (
    is_only boolean DEFAULT true NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT erasure_version_is_only_check CHECK (is_only),
    CONSTRAINT erasure_version_pkey PRIMARY KEY (is_only)
);

CREATE TABLE error_groups (
    project_id uuid NOT NULL,
    id character varying(16) NOT NULL,
    status character varying(16) NOT NULL,
    updated_by uuid,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT error_groups_id_check CHECK (((id)::text ~ '^[0-9a-f]{16}$'::text)),
    CONSTRAINT error_groups_pkey PRIMARY KEY (project_id, id),
    CONSTRAINT error_groups_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
    CONSTRAINT error_groups_status_check CHECK (((status)::text = ANY ((ARRAY['open'::character varying, 'resolved'::character varying, 'ignored'::character varying])::text[]))),
    CONSTRAINT error_groups_updated_by_fkey FOREIGN KEY (updated_by) REFERENCES accounts(id) ON DELETE SET NULL
);
CREATE INDEX error_groups_updated_by_idx ON error_groups USING btree (updated_by);

CREATE TABLE funnels (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id uuid NOT NULL,
    name character varying(255) NOT NULL,
    steps jsonb NOT NULL,
    time_window_hours integer DEFAULT 24 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT funnels_name_check CHECK (((name)::text <> ''::text)),
    CONSTRAINT funnels_pkey PRIMARY KEY (id),
    CONSTRAINT funnels_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
    CONSTRAINT funnels_steps_check CHECK (((jsonb_typeof(steps) = 'array'::text) AND ((jsonb_array_length(steps) >= 2) AND (jsonb_array_length(steps) <= 10)))),
    CONSTRAINT funnels_time_window_hours_check CHECK (((time_window_hours >= 1) AND (time_window_hours <= 720)))
);
CREATE INDEX funnels_project_id_idx ON funnels USING btree (project_id);
CREATE TRIGGER funnels_touch_updated_at BEFORE UPDATE ON funnels FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE goals (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id uuid NOT NULL,
    name character varying(100) NOT NULL,
    display_name character varying(255),
    track_method goal_track_method NOT NULL,
    match_pattern character varying(500),
    monetary_value double precision,
    is_active boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT goals_check CHECK (((track_method <> 'page_url'::goal_track_method) OR ((match_pattern)::text ~~ '/%'::text))),
    CONSTRAINT goals_monetary_value_check CHECK ((monetary_value >= (0)::double precision)),
    CONSTRAINT goals_name_check CHECK (((name)::text ~ '^[A-Za-z0-9_-]+$'::text)),
    CONSTRAINT goals_pkey PRIMARY KEY (id),
    CONSTRAINT goals_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
    CONSTRAINT goals_project_id_name_key UNIQUE (project_id, name)
);
CREATE TRIGGER goals_touch_updated_at BEFORE UPDATE ON goals FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE invitations (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id uuid NOT NULL,
    email character varying(255) NOT NULL,
    role member_role NOT NULL,
    token_hash character varying(64) NOT NULL,
    invited_by uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT invitations_email_check CHECK (((email)::text = lower((email)::text))),
    CONSTRAINT invitations_invited_by_fkey FOREIGN KEY (invited_by) REFERENCES accounts(id) ON DELETE SET NULL,
    CONSTRAINT invitations_pkey PRIMARY KEY (id),
    CONSTRAINT invitations_project_id_email_key UNIQUE (project_id, email),
    CONSTRAINT invitations_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
    CONSTRAINT invitations_token_hash_check CHECK (((token_hash)::text ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT invitations_token_hash_key UNIQUE (token_hash)
);
CREATE INDEX invitations_invited_by_idx ON invitations USING btree (invited_by);

CREATE TABLE notes (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id uuid NOT NULL,
    account_id uuid,
    content character varying(2000) NOT NULL,
    note_date date NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT notes_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id) ON DELETE SET NULL,
    CONSTRAINT notes_content_check CHECK (((content)::text <> ''::text)),
    CONSTRAINT notes_pkey PRIMARY KEY (id),
    CONSTRAINT notes_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE
);
CREATE INDEX notes_account_id_idx ON notes USING btree (account_id);
CREATE INDEX notes_project_id_note_date_idx ON notes USING btree (project_id, note_date);
CREATE TRIGGER notes_touch_updated_at BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE project_erasures (
    project_id uuid NOT NULL,
    name character varying(255) NOT NULL,
    requested_by uuid,
    requested_at timestamp with time zone DEFAULT now() NOT NULL,
    leased_until timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    last_error text,
    finished_at timestamp with time zone,
    receipt jsonb,
    leased_by uuid,
    step text DEFAULT ''::text NOT NULL,
    work jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT project_erasures_pkey PRIMARY KEY (project_id),
    CONSTRAINT project_erasures_receipt_check CHECK ((jsonb_typeof(receipt) = 'object'::text)),
    CONSTRAINT project_erasures_work_check CHECK ((jsonb_typeof(work) = 'object'::text))
);
CREATE INDEX project_erasures_open_idx ON project_erasures USING btree (requested_at) WHERE (finished_at IS NULL);

CREATE TABLE project_members (
    project_id uuid NOT NULL,
    account_id uuid NOT NULL,
    role member_role DEFAULT 'member'::member_role NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT project_members_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id) ON DELETE CASCADE,
    CONSTRAINT project_members_pkey PRIMARY KEY (project_id, account_id),
    CONSTRAINT project_members_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE
);
CREATE INDEX project_members_account_id_idx ON project_members USING btree (account_id);

CREATE TABLE projects (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    tenant_id uuid NOT NULL,
    name character varying(255) NOT NULL,
    slug character varying(100) NOT NULL,
    allowed_domains text[] DEFAULT '{}'::text[] NOT NULL,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT projects_pkey PRIMARY KEY (id),
    CONSTRAINT projects_settings_check CHECK ((jsonb_typeof(settings) = 'object'::text)),
    CONSTRAINT projects_slug_key UNIQUE (slug),
    CONSTRAINT projects_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(id) ON DELETE CASCADE
);
CREATE INDEX projects_tenant_id_idx ON projects USING btree (tenant_id);
CREATE TRIGGER projects_touch_updated_at BEFORE UPDATE ON projects FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE public_dashboards (
    project_id uuid NOT NULL,
    slug character varying(100) NOT NULL,
    is_enabled boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT public_dashboards_pkey PRIMARY KEY (project_id),
    CONSTRAINT public_dashboards_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
    CONSTRAINT public_dashboards_slug_check CHECK (((slug)::text ~ '^[a-z0-9]+(-[a-z0-9]+)*$'::text)),
    CONSTRAINT public_dashboards_slug_key UNIQUE (slug)
);
CREATE TRIGGER public_dashboards_touch_updated_at BEFORE UPDATE ON public_dashboards FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE refresh_tokens (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    family_id uuid NOT NULL,
    token_hash character varying(64) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    replaced_by uuid,
    CONSTRAINT refresh_tokens_family_id_fkey FOREIGN KEY (family_id) REFERENCES auth_sessions(id) ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT refresh_tokens_replaced_by_fkey FOREIGN KEY (replaced_by) REFERENCES refresh_tokens(id) ON DELETE SET NULL,
    CONSTRAINT refresh_tokens_replaced_by_key UNIQUE (replaced_by),
    CONSTRAINT refresh_tokens_token_hash_check CHECK (((token_hash)::text ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT refresh_tokens_token_hash_key UNIQUE (token_hash)
);
CREATE INDEX refresh_tokens_family_id_idx ON refresh_tokens USING btree (family_id);

CREATE TABLE saved_filters (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id uuid NOT NULL,
    account_id uuid NOT NULL,
    name character varying(255) NOT NULL,
    filter_type character varying(50) NOT NULL,
    filter jsonb NOT NULL,
    is_shared boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT saved_filters_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id) ON DELETE CASCADE,
    CONSTRAINT saved_filters_filter_check CHECK ((jsonb_typeof(filter) = 'object'::text)),
    CONSTRAINT saved_filters_filter_type_check CHECK (((filter_type)::text = ANY ((ARRAY['sessions'::character varying, 'events'::character varying, 'errors'::character varying])::text[]))),
    CONSTRAINT saved_filters_name_check CHECK (((name)::text <> ''::text)),
    CONSTRAINT saved_filters_pkey PRIMARY KEY (id),
    CONSTRAINT saved_filters_project_id_account_id_filter_type_name_key UNIQUE (project_id, account_id, filter_type, name),
    CONSTRAINT saved_filters_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE
);
CREATE INDEX saved_filters_account_id_idx ON saved_filters USING btree (account_id);
CREATE TRIGGER saved_filters_touch_updated_at BEFORE UPDATE ON saved_filters FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE tenant_members (
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_members_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts(id) ON DELETE CASCADE,
    CONSTRAINT tenant_members_pkey PRIMARY KEY (tenant_id, account_id),
    CONSTRAINT tenant_members_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(id) ON DELETE CASCADE
);
CREATE INDEX tenant_members_account_id_idx ON tenant_members USING btree (account_id);

CREATE TABLE tenants (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name character varying(255) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenants_pkey PRIMARY KEY (id)
);
CREATE TRIGGER tenants_touch_updated_at BEFORE UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE visitor_export_parts (
    request_id uuid NOT NULL,
    part integer NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT visitor_export_parts_pkey PRIMARY KEY (request_id, part),
    CONSTRAINT visitor_export_parts_request_id_fkey FOREIGN KEY (request_id) REFERENCES visitor_requests(id) ON DELETE CASCADE
);

CREATE TABLE visitor_requests (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    sequence bigint NOT NULL,
    project_id uuid NOT NULL,
    kind text NOT NULL,
    subject text,
    subject_hash character varying(64) NOT NULL,
    requested_by uuid,
    requested_at timestamp with time zone DEFAULT now() NOT NULL,
    leased_by uuid,
    leased_until timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    last_error text,
    step text DEFAULT ''::text NOT NULL,
    work jsonb DEFAULT '{}'::jsonb NOT NULL,
    finished_at timestamp with time zone,
    receipt jsonb,
    CONSTRAINT visitor_requests_kind_check CHECK ((kind = ANY (ARRAY['export'::text, 'erasure'::text]))),
    CONSTRAINT visitor_requests_pkey PRIMARY KEY (id),
    CONSTRAINT visitor_requests_receipt_check CHECK ((jsonb_typeof(receipt) = 'object'::text)),
    CONSTRAINT visitor_requests_subject_hash_check CHECK (((subject_hash)::text ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT visitor_requests_work_check CHECK ((jsonb_typeof(work) = 'object'::text))
);
CREATE INDEX visitor_requests_open_idx ON visitor_requests USING btree (requested_at) WHERE (finished_at IS NULL);
CREATE INDEX visitor_requests_project_id_idx ON visitor_requests USING btree (project_id, subject_hash);

CREATE OR REPLACE FUNCTION touch_updated_at()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$function$;
