-- Releases: which revision of an application an operation brings to the cells, and how that ended.

-- The newest release of each application. The CR is never written when a release is taken back; this row keeps the revision
-- from being released again.
CREATE TABLE application_release (
  app           bigint PRIMARY KEY REFERENCES application ON DELETE CASCADE,
  -- Revision that the release brings.
  revision      bytea NOT NULL,
  -- Revision that most cells held in their main slot before. All cells go back to it when the release is taken back.
  previous      bytea NOT NULL,
  -- Operation that brings it. No reference: the row outlives the operation.
  operation     uuid NOT NULL,
  -- Open while the operation runs. RolledBack: no release of this revision begins by itself, unless superseded_by is set.
  state         text NOT NULL CHECK (state IN ('Open', 'Released', 'RolledBack')),
  -- For people: how the release ended, such as the step that failed and why. Empty while it is open.
  message       text NOT NULL,
  -- Revision that was wanted instead when the release was taken back. NULL where the release itself failed or a person ended it.
  superseded_by bytea,
  changed_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX application_release_operation ON application_release (operation);
CREATE INDEX application_release_open ON application_release (app) WHERE state = 'Open';

-- Applications that ask for releases; the others take a new revision cell by cell.
CREATE INDEX application_releases ON application (id) WHERE intent -> 'release' IS NOT NULL;

-- Kind of the component whose replicas are divided over cells, such as `apps/v1/Deployment`. NULL where there is none, and
-- where an older program stored the revision.
ALTER TABLE app_revision ADD COLUMN divided_kind text;

-- Releases that are not over, by the application that they change.
CREATE INDEX operation_release ON operation (subject)
  WHERE kind = 'release'
    AND state IN ('Pending', 'AwaitingApproval', 'AwaitingLocks', 'Running', 'Pausing', 'Paused', 'Cancelling', 'Failing');
