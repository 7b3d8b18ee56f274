-- why: what is due is found lane by lane, however much waits in one of them.
-- blocking: no

CREATE INDEX alert_deliveries_lane_idx ON alert_deliveries (lane, next_attempt_at, sequence)
    WHERE status = 'pending';
CREATE INDEX alert_deliveries_leased_idx ON alert_deliveries (leased_until)
    WHERE status = 'pending' AND leased_until IS NOT NULL;
DROP INDEX alert_deliveries_pending_idx;
