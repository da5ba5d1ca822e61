-- Operations: long-running changes of the fleet, each with its plan, its targets, its journal and its locks.

CREATE TABLE operation (
  id            uuid PRIMARY KEY,
  kind          text NOT NULL,
  -- Version of the kind's logic that made the plan. A program runs the operation only if its kind supports this version.
  logic_version integer NOT NULL,
  -- A higher number takes locks from a lower one.
  priority      smallint NOT NULL,
  -- What the operation changes, for people: `cluster east`.
  subject       text NOT NULL,
  -- The request, as it was given.
  spec          jsonb NOT NULL,
  -- Steps and their order. Fixed at creation.
  plan          jsonb NOT NULL,
  -- Locks that the operation needs while it runs: [{key, mode}].
  locks         jsonb NOT NULL,
  state         text NOT NULL CHECK (state IN ('Pending', 'AwaitingApproval', 'AwaitingLocks', 'Running', 'Pausing', 'Paused',
    'Cancelling', 'Failing', 'Succeeded', 'SucceededWithExceptions', 'Failed', 'Cancelled', 'Reverted')),
  phase         text NOT NULL CHECK (phase IN ('Forward', 'Revert')),
  -- Why the operation pauses or waits: reason, step, message, actor, time.
  pause         jsonb,
  -- What persons said: confirmed steps, overridden checks, approvals.
  marks         jsonb NOT NULL DEFAULT '{}',
  -- Rises with every change. A change made from an older version is not written.
  version       bigint NOT NULL DEFAULT 1,
  actor         text NOT NULL,
  reason        text NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),
  started_at    timestamptz,
  ended_at      timestamptz,
  changed_at    timestamptz NOT NULL DEFAULT now(),
  -- Number and hash of the last journal entry.
  journal_seq   bigint NOT NULL DEFAULT 0,
  journal_hash  bytea NOT NULL DEFAULT ''
);
-- Operations that a process must own: they do something, or are to do something.
CREATE INDEX operation_active ON operation (id)
  WHERE state IN ('AwaitingLocks', 'Running', 'Pausing', 'Cancelling', 'Failing');
-- Operations that wait for locks: those of lower priority leave the locks to them.
CREATE INDEX operation_waiting ON operation (priority) WHERE state = 'AwaitingLocks';
CREATE INDEX operation_created ON operation (created_at, id);

-- One row per step and target that was begun or concluded. A target without a row waits for its turn.
CREATE TABLE operation_target (
  operation  uuid NOT NULL REFERENCES operation ON DELETE CASCADE,
  step       text NOT NULL,
  target     text NOT NULL,
  state      text NOT NULL CHECK (state IN ('Waiting', 'Intended', 'Succeeded', 'Failed', 'TimedOut', 'Skipped', 'Cancelled',
    'Indeterminate')),
  -- Raised by a person's retry after a definite failure. Part of the idempotency key.
  round      integer NOT NULL,
  -- Number of automatic retries in this round.
  attempt    integer NOT NULL,
  run_after  timestamptz,
  deadline   timestamptz,
  -- Progress or result, for people.
  message    text NOT NULL,
  changed_at timestamptz NOT NULL,
  PRIMARY KEY (operation, step, target)
);

-- Append-only. Each entry contains the hash of the entry before it, so a removed or edited entry shows.
CREATE TABLE journal (
  operation uuid NOT NULL REFERENCES operation ON DELETE CASCADE,
  seq       bigint NOT NULL,
  entry     text NOT NULL CHECK (entry IN ('Created', 'Intent', 'Outcome', 'State', 'Control', 'Check', 'Note')),
  step      text,
  target    text,
  round     integer,
  attempt   integer,
  -- JSON, exactly as it was hashed.
  body      text NOT NULL,
  actor     text NOT NULL,
  at        timestamptz NOT NULL,
  hash      bytea NOT NULL,
  PRIMARY KEY (operation, seq)
);
CREATE UNIQUE INDEX journal_once ON journal (operation, step, target, round, attempt, entry)
  WHERE entry IN ('Intent', 'Outcome');

CREATE FUNCTION journal_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the journal is append-only';
END $$;
CREATE TRIGGER journal_is_append_only BEFORE UPDATE ON journal FOR EACH ROW EXECUTE FUNCTION journal_is_append_only();

-- Keys that were locked once. Whoever takes or gives back locks locks these rows first, in order of their keys.
CREATE TABLE lock_scope (
  key text PRIMARY KEY
);

-- Locks that operations hold: several Shared ones on a key, or one Exclusive.
CREATE TABLE scope_lock (
  key       text NOT NULL REFERENCES lock_scope,
  operation uuid NOT NULL REFERENCES operation ON DELETE CASCADE,
  mode      text NOT NULL CHECK (mode IN ('Exclusive', 'Shared')),
  since     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (key, operation)
);
CREATE INDEX scope_lock_operation ON scope_lock (operation);

-- Requests that were accepted: the same key from the same actor gives the same operation. A key lives as long as its operation.
CREATE TABLE idempotency_key (
  actor     text NOT NULL,
  method    text NOT NULL,
  path      text NOT NULL,
  key       text NOT NULL,
  body_hash bytea NOT NULL,
  operation uuid NOT NULL REFERENCES operation ON DELETE CASCADE,
  PRIMARY KEY (actor, method, path, key)
);
CREATE INDEX idempotency_key_operation ON idempotency_key (operation);
