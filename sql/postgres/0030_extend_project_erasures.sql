-- why: the worker that erases deleted projects resumes where it, or another one, was stopped.
-- blocking: no

ALTER TABLE project_erasures ADD COLUMN leased_by uuid;
ALTER TABLE project_erasures ADD COLUMN step text NOT NULL DEFAULT '';
ALTER TABLE project_erasures ADD COLUMN work jsonb NOT NULL DEFAULT '{}'
    CHECK (jsonb_typeof(work) = 'object');
