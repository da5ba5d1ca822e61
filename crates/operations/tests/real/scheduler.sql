-- Stands for scheduler and deliverers: decides what directives say, and lets the members follow at once. Replicas of a revision
-- in `broken` never become available.
DO $$
DECLARE
  asked record;
  total integer;
  grays integer;
BEGIN
  PERFORM pg_advisory_xact_lock(1);
  CREATE TABLE IF NOT EXISTS broken (revision bytea PRIMARY KEY);
  -- Gray slots end with their directive.
  UPDATE cell_decision m SET target = m.target + g.target FROM cell_decision g
  WHERE m.app = g.app AND m.cell = g.cell AND m.slot = 'main' AND g.slot = 'gray'
    AND NOT EXISTS (SELECT 1 FROM placement_directive p WHERE p.app = g.app AND p.scope -> 'Cell' ->> 'cell' = g.cell);
  DELETE FROM cell_decision g WHERE g.slot = 'gray'
    AND NOT EXISTS (SELECT 1 FROM placement_directive p WHERE p.app = g.app AND p.scope -> 'Cell' ->> 'cell' = g.cell);
  FOR asked IN
    SELECT app, scope -> 'Cell' ->> 'cell' AS cell, decode(effect -> 'Release' ->> 'revision', 'hex') AS revision,
      (effect -> 'Release' ->> 'gray')::integer AS gray, (effect -> 'Release' ->> 'main')::boolean AS main
    FROM placement_directive WHERE effect ? 'Release'
  LOOP
    SELECT sum(target) INTO total FROM cell_decision WHERE app = asked.app AND cell = asked.cell;
    grays := least(asked.gray, total);
    UPDATE cell_decision SET target = total - grays, revision = CASE WHEN asked.main THEN asked.revision ELSE revision END
    WHERE app = asked.app AND cell = asked.cell AND slot = 'main';
    DELETE FROM cell_decision WHERE app = asked.app AND cell = asked.cell AND slot = 'gray' AND grays = 0;
    INSERT INTO cell_decision (app, cell, slot, target, revision)
    SELECT asked.app, asked.cell, 'gray', grays, asked.revision WHERE grays > 0
    ON CONFLICT (app, cell, slot) DO UPDATE SET target = excluded.target, revision = excluded.revision;
  END LOOP;
  DELETE FROM placement p WHERE NOT EXISTS (
    SELECT 1 FROM cell_decision d WHERE d.app = p.app AND d.cell = p.cell AND d.slot = p.slot);
  UPDATE placement p SET target = d.target, floor = 0, revision = d.revision, plan_epoch = p.plan_epoch + 1
  FROM cell_decision d WHERE d.app = p.app AND d.cell = p.cell AND d.slot = p.slot
    AND (p.target, p.revision) IS DISTINCT FROM (d.target, d.revision);
  INSERT INTO placement (app, component, cell, slot, cluster, api_version, kind, namespace, object_name, rank, divided, target,
    floor, plan_epoch, revision, wish)
  SELECT d.app, 'web', d.cell, d.slot, d.cell, 'apps/v1', 'Deployment', a.namespace,
    a.name || CASE WHEN d.slot = 'gray' THEN '-gray' ELSE '' END, 0, true, d.target, 0, 1, d.revision, 'Present'
  FROM cell_decision d JOIN application a ON a.id = d.app
  WHERE NOT EXISTS (SELECT 1 FROM placement p WHERE p.app = d.app AND p.cell = d.cell AND p.slot = d.slot);
  INSERT INTO placement_status AS s (placement, state, applied_epoch, observed_epoch, applied_revision, replicas, available,
    settled)
  SELECT p.id, 'Applied', p.plan_epoch, p.plan_epoch, p.revision, p.target, CASE WHEN b.revision IS NULL THEN p.target ELSE 0 END,
    b.revision IS NULL
  FROM placement p LEFT JOIN broken b ON b.revision = p.revision
  ON CONFLICT (placement) DO UPDATE SET applied_epoch = excluded.applied_epoch, observed_epoch = excluded.observed_epoch,
    applied_revision = excluded.applied_revision, replicas = excluded.replicas, available = excluded.available,
    settled = excluded.settled, changed_at = now()
  WHERE (s.applied_epoch, s.available, s.settled)
    IS DISTINCT FROM (excluded.applied_epoch, excluded.available, excluded.settled);
  INSERT INTO cluster_status (cluster, health, reason, message, as_of, checked_at)
  SELECT name, 'Pass', 'Ready', '', now(), now() FROM cluster
  ON CONFLICT (cluster) DO UPDATE SET checked_at = now();
END $$
