-- States and times that 0001 and later migrations describe unclearly, or that changed since. Comments only.

COMMENT ON TABLE lease IS
  'One row for each right that only one process may have at a time, such as to lead or to deliver to a cluster. A row stays
after its lease expired, so that the epoch keeps rising.';
COMMENT ON COLUMN lease.holder IS 'Name of the process and a nonce, separated by #. A restarted process is another holder.';
COMMENT ON COLUMN lease.epoch IS
  'Rises at every acquisition, and not at a renewal. A write checks the name and the epoch of its lease in its own transaction.';
COMMENT ON COLUMN lease.expires_at IS 'By the clock of the database. Another process may acquire the lease after this time.';

COMMENT ON COLUMN cluster.removal IS
  'NULL: the cluster belongs to the fleet. Set while the Cluster object is being deleted. Orphan: delivered objects stay in the
member without belonging to Meridian. Delete: they are deleted.';
COMMENT ON COLUMN cluster.gone IS
  'A person declared that the member no longer exists. The scheduler follows it only while the cluster is being removed and
the member does not answer. Then the placement rows of the cluster are removed without a delete in the member.';

COMMENT ON COLUMN cluster_status.health IS
  'Pass: the member answers and is followed. Some kinds, nodes or orphans in it may still be unhealthy, which the reason
Degraded shows. Fail: Meridian cannot use the member although it may answer, such as with a rejected credential. Unknown: the
member is silent, is not followed completely, has no usable credential, or answers again for too short a time.';
COMMENT ON COLUMN cluster_status.reason IS
  'Reason of the health in one word. Pass: Ready or Degraded. Other examples: Silent, WatchStale, Listing, Recovering,
Unreachable, CredentialRejected, ConnectionInvalid. Empty before the first judgement.';
COMMENT ON COLUMN cluster_status.as_of IS
  'Time of the last sign of life of the member. NULL until all its lists were complete once.';
COMMENT ON COLUMN cluster_status.checked_at IS
  'Time at which the deliverer last judged the member. After too long without a judgement the health decides nothing.';
COMMENT ON COLUMN cluster_status.unhealthy_since IS
  'Time at which health stopped being Pass; NULL while it is Pass. Failover does not count from it but from silent_since.';
COMMENT ON COLUMN cluster_status.silent_since IS
  'Time at which the member stopped answering; NULL while it answers, even if it refuses requests. Failover counts from it. A
member that answers again keeps it until its health is Pass or Fail.';

COMMENT ON TABLE cell IS
  'Declared Cells, and the implicit cell of every cluster. Rows stay when a Cell is deleted, because authority must not fall.';
COMMENT ON COLUMN cell.spec IS 'NULL for an implicit cell, and for a Cell that was deleted.';
COMMENT ON COLUMN cell.leaving IS
  'The Cell object is being deleted, and the scheduler moves its replicas to other cells. When no placement row names the cell
any more, spec becomes NULL and this value false.';

COMMENT ON COLUMN application.removal IS
  'NULL: the Application is delivered. Set while the Application object is being deleted. Orphan: delivered objects stay in the
members without belonging to Meridian. Delete: they are deleted. The row is deleted with the last of its placement rows.';
COMMENT ON COLUMN application.decided_generation IS
  'Generation of the Application that the placement follows, which status reports. 0 before the first decision. Below
generation while a decision is due.';

COMMENT ON COLUMN placement.wish IS
  'Desired state of the object. Present: it is delivered. Delete: it is to be deleted in the member. Orphan: it is to stay in
the member without belonging to Meridian. The row is deleted when its object is gone or released.';
COMMENT ON COLUMN placement.floor IS
  'Replicas that the object keeps, whatever its target, until replicas are available elsewhere. Rendered replicas are the
higher of target and floor, plus surge.';

COMMENT ON TABLE placement_status IS
  'Observed state of each placement row. Only the deliverer of the row''s cluster writes it.';

COMMENT ON TABLE placement_directive IS
  'Directives that limit or exclude places for the scheduler, beside specs and the state of the fleet. Programs up to this
version only read them. Failover derives its directives from silence and stores none here.';
COMMENT ON COLUMN placement_directive.app IS 'NULL: the directive applies to all Applications.';
COMMENT ON COLUMN placement_directive.until IS 'The directive holds before this time. NULL: until its row is deleted.';

COMMENT ON TABLE failover_breaker IS
  'State of the failover breaker as the scheduler stored it last. No row: the breaker was never open.';
COMMENT ON COLUMN failover_breaker.open IS
  'True: too many clusters are unhealthy at once in different places, and no failover begins.';
COMMENT ON COLUMN failover_breaker.since IS
  'Time at which the breaker last opened or closed. For clusters that were silent before it closed, failover counts their
silence from then.';

COMMENT ON TABLE delete_window IS
  'Deletes that the scheduler decided, for the sliding window of the mass-delete guard. Deletes that the guard does not count
have no row here, such as those that a person confirmed. A row outlives its application. Rows older than a day are pruned when
another one is written.';
COMMENT ON COLUMN delete_window.objects IS 'Number of objects of the application that one decision deletes in the cluster.';
