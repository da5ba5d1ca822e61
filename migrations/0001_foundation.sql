-- What is stored: intent as taken in, decisions, and the last observation of what was delivered.
-- What is not: anything that can be read again (live objects) or computed again (topology, rendered objects).

-- Which database this is. The generation rises when it is restored or promoted, and every fence carries it.
CREATE TABLE store_identity (
  one          boolean PRIMARY KEY DEFAULT true CHECK (one),
  installation uuid NOT NULL DEFAULT gen_random_uuid(),
  generation   bigint NOT NULL DEFAULT 1
);
INSERT INTO store_identity DEFAULT VALUES;

-- Who may do what now. The epoch rises at every acquisition.
CREATE TABLE lease (
  name       text PRIMARY KEY,
  holder     text NOT NULL,
  epoch      bigint NOT NULL,
  expires_at timestamptz NOT NULL
);

-- Registry ---------------------------------------------------------------------------------------

CREATE TABLE cluster (
  name       text PRIMARY KEY,
  object_uid text NOT NULL,
  member_uid text NOT NULL UNIQUE,
  generation bigint NOT NULL,
  labels     jsonb NOT NULL,
  spec       jsonb NOT NULL,
  -- Set when the object is being deleted: whether delivered objects go with it.
  removal    text CHECK (removal IN ('Orphan', 'Delete')),
  -- A person says that the member is no more: while it does not answer, what was placed there is forgotten.
  gone       boolean NOT NULL DEFAULT false
);

CREATE TABLE cluster_status (
  cluster    text PRIMARY KEY REFERENCES cluster (name) ON DELETE CASCADE,
  health     text NOT NULL CHECK (health IN ('Pass', 'Fail', 'Unknown')),
  reason     text NOT NULL,
  message    text NOT NULL,
  as_of      timestamptz,
  -- When whoever delivers there judged it last.
  checked_at timestamptz,
  -- Since when it is not well; what failover counts from. Silence and restarts of ours do not reset it.
  unhealthy_since timestamptz,
  -- The signals health is made of, each with its own verdict.
  signals    jsonb NOT NULL DEFAULT '[]',
  version    text,
  -- Version of what join installed in the member.
  installation integer,
  kinds      jsonb NOT NULL DEFAULT '[]',
  capacity   jsonb NOT NULL DEFAULT '[]'
);

CREATE TABLE credential (
  cluster    text PRIMARY KEY REFERENCES cluster (name) ON DELETE CASCADE,
  sealed     bytea NOT NULL,
  issued_at  timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);

-- Declared cells, and the implicit one of every cluster, whose authority per-cluster objects carry.
CREATE TABLE cell (
  name       text PRIMARY KEY,
  object_uid text,
  generation bigint,
  labels     jsonb NOT NULL DEFAULT '{}',
  spec       jsonb,
  -- It is being deleted, and is forgotten when nothing is placed there any more.
  leaving    boolean NOT NULL DEFAULT false,
  authority  bigint NOT NULL DEFAULT 1
);

-- Intent -----------------------------------------------------------------------------------------

CREATE TABLE payload (
  hash   bytea PRIMARY KEY,
  sealed boolean NOT NULL,
  body   bytea NOT NULL
);

CREATE TABLE application (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  namespace  text NOT NULL,
  name       text NOT NULL,
  -- Provenance of the intent: what may be taken in next is decided from these.
  hub_uid    text NOT NULL,
  object_uid text NOT NULL,
  generation bigint NOT NULL,
  spec_hash  bytea NOT NULL,
  -- Everything but components and overrides.
  intent     jsonb NOT NULL,
  revision   bytea NOT NULL,
  -- Set when the object is being deleted.
  removal    text CHECK (removal IN ('Orphan', 'Delete')),
  removal_since timestamptz,
  -- Hash of the delete plan a person confirmed.
  delete_confirmed bytea,
  -- Hash of the rebalance plan a person asked for, and of the one that was carried out last.
  rebalance_asked bytea,
  rebalance_done  bytea,
  -- Last decision.
  input_hash bytea,
  decision   jsonb,
  decided_at timestamptz,
  -- Generation the placement was brought up to last; status speaks of this one.
  decided_generation bigint NOT NULL DEFAULT 0,
  -- The last decision found no place for some replicas, or held: more capacity may change that.
  short      boolean GENERATED ALWAYS AS (coalesce(decision -> 'short' = 'true', false)) STORED,
  UNIQUE (namespace, name)
);

CREATE INDEX application_short ON application (id) WHERE short;

CREATE TABLE app_revision (
  app        bigint NOT NULL REFERENCES application ON DELETE CASCADE,
  revision   bytea NOT NULL,
  payload    bytea NOT NULL REFERENCES payload,
  taken_at   timestamptz NOT NULL DEFAULT now(),
  was_ready  boolean NOT NULL DEFAULT false,
  PRIMARY KEY (app, revision)
);
CREATE INDEX app_revision_payload ON app_revision (payload);

-- Decisions --------------------------------------------------------------------------------------

-- One row per object that is to exist in a member. The name is fixed at the first render.
CREATE TABLE placement (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  app         bigint NOT NULL REFERENCES application ON DELETE CASCADE,
  component   text NOT NULL,
  cell        text NOT NULL,
  cluster     text NOT NULL REFERENCES cluster (name),
  api_version text NOT NULL,
  kind        text NOT NULL,
  namespace   text NOT NULL,
  object_name text NOT NULL,
  rank        smallint NOT NULL,
  divided     boolean NOT NULL,
  target      integer NOT NULL CHECK (target >= 0),
  floor       integer NOT NULL CHECK (floor >= 0),
  surge       integer NOT NULL DEFAULT 0 CHECK (surge >= 0),
  plan_epoch  bigint NOT NULL,
  revision    bytea NOT NULL,
  -- Present: to be delivered. Delete, Orphan: to be taken away, or let go.
  wish        text NOT NULL CHECK (wish IN ('Present', 'Delete', 'Orphan'))
);
-- Ownership: one object has one owner.
CREATE UNIQUE INDEX placement_owner ON placement (cluster, split_part(api_version, '/', 1), kind, namespace, object_name);
CREATE INDEX placement_app ON placement (app);

-- What became of it: written by whoever delivers to the cluster, and by nobody else.
CREATE TABLE placement_status (
  placement      bigint PRIMARY KEY REFERENCES placement ON DELETE CASCADE,
  -- Applied, Adopted, Refused, Failed, Deleting.
  state          text NOT NULL,
  message        text,
  -- Plan epoch and revision of the last apply the member took, hash of what was applied.
  applied_epoch  bigint NOT NULL DEFAULT 0,
  applied_hash   bytea,
  applied_revision bytea,
  fields_hash    bytea,
  object_uid     text,
  -- Plan epoch the live object carries, and what it reports.
  observed_epoch bigint NOT NULL DEFAULT 0,
  replicas       integer NOT NULL DEFAULT 0,
  ready          integer NOT NULL DEFAULT 0,
  available      integer NOT NULL DEFAULT 0,
  updated        integer NOT NULL DEFAULT 0,
  settled        boolean NOT NULL DEFAULT false,
  drift          text[] NOT NULL DEFAULT '{}',
  changed_at     timestamptz NOT NULL DEFAULT now()
);

-- The only way anything but the spec changes placement.
CREATE TABLE placement_directive (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  scope   jsonb NOT NULL,
  effect  jsonb NOT NULL,
  app     bigint REFERENCES application ON DELETE CASCADE,
  owner   text NOT NULL,
  reason  text NOT NULL,
  since   timestamptz NOT NULL DEFAULT now(),
  until   timestamptz
);

-- Whether automatic moves are frozen because too much is unhealthy at once, as whoever decides saw it last.
CREATE TABLE failover_breaker (
  only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  open       boolean NOT NULL,
  -- Since when it is so. A silence that lasts when it closes counts from then.
  since      timestamptz NOT NULL
);

-- Deletes of the last minutes: what the mass-delete guard counts. Outlives the application it counts for.
CREATE TABLE delete_window (
  app     bigint NOT NULL,
  cluster text NOT NULL,
  at      timestamptz NOT NULL DEFAULT now(),
  objects integer NOT NULL
);
CREATE INDEX delete_window_at ON delete_window (at);

-- What an application holds by decision, running or not.
CREATE TABLE reservation (
  app       bigint NOT NULL REFERENCES application ON DELETE CASCADE,
  cluster   text NOT NULL REFERENCES cluster (name) ON DELETE CASCADE,
  zone      text NOT NULL,
  cpu_milli bigint NOT NULL,
  memory_mi bigint NOT NULL,
  pods      bigint NOT NULL,
  PRIMARY KEY (app, cluster, zone)
);

-- The last 100 decisions of each application.
CREATE TABLE decision_log (
  app        bigint NOT NULL REFERENCES application ON DELETE CASCADE,
  seq        bigint GENERATED ALWAYS AS IDENTITY,
  decided_at timestamptz NOT NULL DEFAULT now(),
  input_hash bytea NOT NULL,
  summary    text NOT NULL,
  targets    jsonb NOT NULL,
  PRIMARY KEY (app, seq)
);
