-- Who may use the API, and what was asked of it.

-- Tokens of machines and persons. A token has the rights of its subject, and no others.
CREATE TABLE api_token (
  id           uuid PRIMARY KEY,
  -- For people: what the token is for.
  name         text NOT NULL,
  -- Whom the token belongs to. A `token` subject is a machine: a pipeline, a script.
  subject_kind text NOT NULL CHECK (subject_kind IN ('person', 'token')),
  subject      text NOT NULL CHECK (subject <> ''),
  -- SHA-256 of the secret. The secret itself is shown once and never stored.
  secret_hash  bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
  -- Roles that limit the token: it gives no right that none of them gives. Empty: no limit.
  scopes       text[] NOT NULL DEFAULT '{}',
  created_at   timestamptz NOT NULL DEFAULT now(),
  created_by   text NOT NULL,
  expires_at   timestamptz NOT NULL,
  revoked_at   timestamptz,
  revoked_by   text
);
CREATE INDEX api_token_created ON api_token (created_at, id);

-- Roles of subjects. What a role gives is fixed in the program.
CREATE TABLE role_binding (
  id           uuid PRIMARY KEY,
  subject_kind text NOT NULL CHECK (subject_kind IN ('person', 'token', 'group', 'serviceAccount', 'hubUser')),
  subject      text NOT NULL CHECK (subject <> ''),
  role         text NOT NULL,
  -- The role counts in this namespace. NULL: in all namespaces, and for clusters and everything else without one.
  namespace    text,
  created_at   timestamptz NOT NULL DEFAULT now(),
  created_by   text NOT NULL
);
CREATE UNIQUE INDEX role_binding_once ON role_binding (subject_kind, subject, role, coalesce(namespace, ''));

-- Changes that were asked for through the API, carried out or refused. Append-only.
CREATE TABLE audit (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- Each writer has a chain of its own: a row contains the hash of the row before it in the chain.
  chain      uuid NOT NULL,
  -- Number in the chain; dense, from 1. A removed row shows.
  seq        bigint NOT NULL,
  at         timestamptz NOT NULL,
  -- Subject that asked, or `anonymous`.
  actor      text NOT NULL,
  method     text NOT NULL,
  path       text NOT NULL,
  -- No reference: the row outlives the operation.
  operation  uuid,
  -- HTTP status of the answer.
  status     integer NOT NULL,
  -- Reason that the subject gave, or why the request was refused.
  reason     text NOT NULL,
  request_id text NOT NULL,
  hash       bytea NOT NULL,
  UNIQUE (chain, seq)
);
CREATE INDEX audit_operation ON audit (operation, id) WHERE operation IS NOT NULL;
CREATE INDEX audit_actor ON audit (actor, id);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit is append-only';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
