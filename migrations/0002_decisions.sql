-- Decisions are stored as data of their own. Placement rows follow from them and never stand for them.

-- What is decided for one cell and slot of an application: replicas of the Divided component, and the revision that all of
-- its components run there. A cell that holds the application without replicas has target 0.
CREATE TABLE cell_decision (
  app      bigint NOT NULL REFERENCES application ON DELETE CASCADE,
  cell     text NOT NULL,
  slot     text NOT NULL DEFAULT 'main' CHECK (slot IN ('main', 'gray')),
  target   integer NOT NULL CHECK (target >= 0),
  revision bytea NOT NULL,
  PRIMARY KEY (app, cell, slot)
);

-- Rises with every committed decision about the application: a decision made from an older one is not written.
ALTER TABLE application ADD COLUMN decision_version bigint NOT NULL DEFAULT 0;

-- Something decided has no object: it waits until another owner, a right or a kind changes.
ALTER TABLE application ADD COLUMN blocked boolean
  GENERATED ALWAYS AS (coalesce(jsonb_array_length(decision -> 'problems') > 0, false)) STORED;
CREATE INDEX application_blocked ON application (id) WHERE blocked;

-- Rises with every change of what is reserved in the cluster: a decision made from older sums is not written.
ALTER TABLE cluster ADD COLUMN booking_version bigint NOT NULL DEFAULT 0;

ALTER TABLE placement ADD COLUMN slot text NOT NULL DEFAULT 'main' CHECK (slot IN ('main', 'gray'));

-- Decisions made by earlier versions, as far as they can be told from what is placed.
INSERT INTO cell_decision (app, cell, target, revision)
SELECT app, cell, coalesce(sum(target) FILTER (WHERE divided), 0), (array_agg(revision ORDER BY divided DESC, id))[1]
FROM placement p WHERE wish = 'Present' GROUP BY app, cell
HAVING bool_or(divided) OR NOT EXISTS (SELECT 1 FROM placement d WHERE d.app = p.app AND d.divided);
