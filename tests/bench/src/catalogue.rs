//! Catalogue of the page: names for people, figures of the peer, and goals.

/// One row of the page.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// Value of the peer for the same work, where one was measured.
    pub(crate) peer: Option<f64>,
    /// Text that the page shows as the value of the peer.
    pub(crate) peer_note: &'static str,
    pub(crate) goal: Option<f64>,
    /// Larger values are better.
    pub(crate) more: bool,
}

/// One section of the page.
pub(crate) struct Part {
    pub(crate) title: &'static str,
    pub(crate) scenario: &'static str,
    pub(crate) note: &'static str,
    pub(crate) entries: &'static [Entry],
}

const fn less(
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    peer: Option<f64>,
    peer_note: &'static str,
    goal: Option<f64>,
) -> Entry {
    Entry { name, what, unit, peer, peer_note, goal, more: false }
}

const fn more(
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    peer: Option<f64>,
    peer_note: &'static str,
    goal: Option<f64>,
) -> Entry {
    Entry { name, what, unit, peer, peer_note, goal, more: true }
}

/// All sections in the order of the page.
pub(crate) const PARTS: &[Part] = &[
    Part {
        title: "500 Applications × 3 replicas on three real members",
        scenario: "placement",
        note: "Eight keep-alive connections create Applications of one Deployment each (100m, 64Mi). Watches on all \
               members record when each Deployment exists and when all its replicas are available. *Our plane* is \
               the operator, PostgreSQL with all its backends (every commit waits for the disk), and the hub's \
               kube-apiserver, kube-controller-manager and etcd. It corresponds to the *sum of plane* of the peer. \
               CPU is counted from the first create until three moments: the last Deployment exists, all replicas \
               are available (one moment for the peer), and status is no longer written. Peaks are sums over \
               processes, so memory that PostgreSQL's backends share is counted more than once.",
        entries: &[
            less(
                "placement.applied_s",
                "all 1,500 Deployments applied",
                "s",
                Some(148.3),
                "148 tuned, 312.6 at defaults",
                Some(10.0),
            ),
            less("placement.applied_p50_s", "half of them applied", "s", Some(78.0), "78 tuned, 191 at defaults", None),
            less(
                "placement.available_s",
                "all 1,500 Deployments available",
                "s",
                Some(148.6),
                "149 tuned, 312.3 at defaults",
                None,
            ),
            less(
                "placement.plane_cpu_until_applied_s",
                "CPU of our plane until all are applied",
                "CPU-s",
                Some(146.0),
                "146–350",
                Some(15.0),
            ),
            less(
                "placement.plane_cpu_s",
                "CPU of our plane until all are available",
                "CPU-s",
                Some(146.0),
                "146–350",
                None,
            ),
            less(
                "placement.plane_cpu_until_quiet_s",
                "CPU of our plane until the last status write",
                "CPU-s",
                None,
                "",
                None,
            ),
            less(
                "placement.cpu_s.operator",
                "share of the operator",
                "CPU-s",
                Some(34.6),
                "controller-manager and scheduler, 35–161",
                None,
            ),
            less("placement.cpu_s.postgres", "share of PostgreSQL", "CPU-s", None, "none", None),
            less(
                "placement.cpu_s.hub apiserver",
                "share of the hub kube-apiserver",
                "CPU-s",
                Some(79.3),
                "79–143",
                None,
            ),
            less("placement.cpu_s.hub etcd", "share of the hub's etcd", "CPU-s", Some(12.8), "13–33", None),
            less(
                "placement.cpu_s.hub controller-manager",
                "share of the hub's kube-controller-manager",
                "CPU-s",
                Some(2.7),
                "3–5",
                None,
            ),
            less(
                "placement.cpu_s.members apiserver",
                "in addition: CPU of the three members' kube-apiservers",
                "CPU-s",
                Some(73.8),
                "74–90",
                None,
            ),
            less("placement.plane_peak_mb", "peak memory of our plane", "MB", Some(1386.0), "1,386–2,575", None),
            less("placement.peak_mb.operator", "share of the operator", "MB", Some(311.0), "311–476", None),
            less(
                "placement.hub_writes_per_application",
                "writes to the hub per Application",
                "",
                Some(31.0),
                "31–84",
                None,
            ),
            less("placement.member_writes_per_object", "writes to members per Deployment", "", Some(1.0), "1", None),
            less(
                "placement.database_kb_per_application",
                "growth of our database per Application",
                "KB",
                Some(115.0),
                "115, its etcd",
                Some(10.0),
            ),
            less(
                "placement.hub_etcd_kb_per_application",
                "growth of the hub's etcd per Application, history included",
                "KB",
                Some(115.0),
                "115",
                None,
            ),
            less("placement.commits_per_application", "commits per Application", "", None, "", None),
            less("placement.wal_kb_per_application", "write-ahead log per Application", "KB", None, "", None),
        ],
    },
    Part {
        title: "The limit of the machine for that work",
        scenario: "limit",
        note: "The operator is stopped on a test bed like the one above. Eight connections create the same \
               Applications on the hub, while eight connections to each member apply the same Deployments directly. \
               No control plane can be faster on these cores. Then Meridian does it on a hub that adds the \
               finalizer itself (crds/admission, not installed by default, see docs/decisions/0004). Then it is \
               measured on another test bed where all processes of the members are paused (SIGSTOP) except API \
               servers and etcds, because they compete for the cores: first with Meridian, then directly.",
        entries: &[
            less("limit.applied_s", "all 1,500 Deployments applied directly", "s", None, "", None),
            more("limit.applied_share", "share of that speed that Meridian reaches", "", None, "", None),
            less("limit.born_applied_s", "by Meridian, the hub adds the finalizer", "s", None, "", None),
            less("limit.born_plane_cpu_s", "CPU of our plane for that", "CPU-s", None, "", None),
            less("limit.held_direct_s", "directly, members' controllers paused", "s", None, "", None),
            less("limit.held_applied_s", "by Meridian, members' controllers paused", "s", None, "", None),
            less("limit.held_plane_cpu_s", "CPU of our plane for that", "CPU-s", None, "", None),
            more("limit.held_share", "share of that speed that Meridian reaches", "", None, "", None),
        ],
    },
    Part {
        title: "One edit, idle, until all three members show it",
        scenario: "latency",
        note: "Edits one second apart, with all objects of the first part in place. The annotation belongs to the \
               template: it makes a new revision that restarts no pods and is delivered to all cells at once. \
               *Directly*: the operator is stopped, and the client that edits the Application on the hub applies \
               the Deployment to all three members itself, as soon as the hub has answered.",
        entries: &[
            less("latency.annotation.p50_ms", "annotation, p50", "ms", Some(81.0), "81", Some(20.0)),
            less("latency.annotation.p90_ms", "annotation, p90", "ms", Some(127.0), "127", None),
            less("latency.annotation.max_ms", "annotation, greatest", "ms", Some(183.0), "183", None),
            less("latency.direct.p50_ms", "annotation directly, p50", "ms", None, "", None),
            more("latency.direct_share", "share of that speed that Meridian reaches", "", None, "", None),
            less("latency.scale.p50_ms", "scale 3 ↔ 6, p50", "ms", Some(409.0), "409", Some(30.0)),
            less("latency.scale.p90_ms", "scale 3 ↔ 6, p90", "ms", Some(696.0), "696", None),
            less("latency.scale.max_ms", "scale 3 ↔ 6, greatest", "ms", Some(860.0), "860", None),
            less(
                "latency.annotation.cpu_ms_per_edit.operator",
                "CPU of the operator per annotation",
                "ms",
                Some(56.0),
                "50 + 6",
                None,
            ),
            less(
                "latency.scale.cpu_ms_per_edit.operator",
                "CPU of the operator per scale",
                "ms",
                Some(336.0),
                "122 + 214",
                None,
            ),
            less("latency.scale.cpu_ms_per_edit.postgres", "CPU of PostgreSQL per scale", "ms", None, "", None),
            less(
                "latency.scale.cpu_ms_per_edit.hub apiserver",
                "CPU of the hub's kube-apiserver per scale",
                "ms",
                Some(326.0),
                "326",
                None,
            ),
        ],
    },
    Part {
        title: "Restart of the operator with 1,500 placements",
        scenario: "restart",
        note: "SIGTERM, then a start at once. *Caused* are the writes within the window, except the time of each \
               member's last sign of life, which is written every ten seconds as node leases are. *At work* ends \
               with the last fifth of a second in which the operator used more than a tenth of a core, followed by \
               a second of less.",
        entries: &[
            less("restart.last_write_s", "last write caused, time after the start", "s", Some(95.0), "95", Some(2.0)),
            less("restart.busy_until_s", "operator at work until", "s", None, "", Some(2.0)),
            less("restart.edit_shown_s", "an earlier edit is in all members after the start", "s", None, "", None),
            less("restart.hub_writes_caused", "writes to the hub caused", "", Some(3600.0), "3,600", Some(0.0)),
            less("restart.member_writes_caused", "writes to members caused", "", Some(0.0), "0", Some(0.0)),
            less(
                "restart.operator_cpu_s",
                "CPU of the operator in the window",
                "CPU-s",
                Some(10.4),
                "10.4 in 95 s",
                None,
            ),
            less("restart.operator_rss_mb", "memory of the operator afterwards", "MB", Some(317.0), "317", None),
        ],
    },
    Part {
        title: "One member's API server hangs (SIGSTOP) and goes on (SIGCONT)",
        scenario: "hang",
        note: "Default timers. No replicas move under `failover: Hold`, which is the default.",
        entries: &[
            less("hang.noticed_s", "time until the health is Unknown", "s", Some(77.4), "76–78", Some(15.0)),
            less("hang.moved", "replicas moved during the hang", "", Some(0.0), "0 at defaults", Some(0.0)),
            less(
                "hang.counted_ready_above_desired",
                "replicas counted ready above those desired",
                "",
                Some(94.0),
                "94 with failover on",
                Some(0.0),
            ),
            less("hang.ready_again_s", "ready again after SIGCONT", "s", Some(30.4), "30.4", None),
            less("hang.all_fresh_again_s", "all status fresh again after SIGCONT", "s", None, "", None),
            less("hang.moved_on_return", "replicas moved when it answers again", "", None, "", Some(0.0)),
            less("hang.member_writes_on_return", "writes to members when it answers again", "", None, "", Some(0.0)),
        ],
    },
    Part {
        title: "Fairness",
        scenario: "fairness",
        note: "Scale edits of one Application: alone, and while another one is edited 1,000 times over one \
               connection. The other one is edited 20 times a second, and then as fast as the hub accepts edits, \
               which fills both cores, so that also the hub answers late. After that, annotation edits in two \
               members while the third hangs. The ratios are those of medians in one run.",
        entries: &[
            less("fairness.busy_ratio", "factor beside an Application with 1,000 edits", "×", None, "", Some(2.0)),
            less("fairness.flat_out_ratio", "factor while the hub takes its edits at full speed", "×", None, "", None),
            more("fairness.flat_out_edits_per_s", "edits of that other Application per second", "1/s", None, "", None),
            less("fairness.hung_ratio", "factor in two members while the third hangs", "×", None, "", Some(1.5)),
        ],
    },
    Part {
        title: "Durable decisions without members",
        scenario: "decisions",
        note: "10,000 Applications of three replicas over 30 clusters in three zones, stored as rows. Store and \
               scheduler are the real ones, and every commit waits for the disk. Then one zone is drained, and its \
               10,000 placements are planned again.",
        entries: &[
            more("decisions.taken_in_per_s", "intents made durable", "1/s", None, "", None),
            more("decisions.per_s", "decisions made durable", "1/s", Some(5.2), "190 ms CPU a binding", Some(500.0)),
            less(
                "decisions.cpu_ms_per_decision.this process",
                "CPU of the stage per decision",
                "ms",
                Some(190.0),
                "190",
                None,
            ),
            less("decisions.cpu_ms_per_decision.postgres", "CPU of PostgreSQL per decision", "ms", None, "", None),
            less(
                "decisions.replan_s",
                "10,000 placements of a drained zone planned again",
                "s",
                None,
                "1.48 bindings/s moved",
                Some(60.0),
            ),
            more("decisions.replanned_per_s", "planned placements per second", "1/s", Some(1.48), "1.48", Some(200.0)),
        ],
    },
    Part {
        title: "Simulated members",
        scenario: "simulated",
        note: "**Simulated**: one process of ours plays all members and speaks the API over TLS and HTTP/2 \
               (`tests/sim`): lists with pages, watches with bookmarks, and server-side apply for a single field \
               manager. Deployments become available by themselves. The hub and the database are real. All \
               processes share the same two cores.",
        entries: &[
            less(
                "simulated.change_20.p50_ms",
                "one change in 20 simulated members: a member shows it, p50",
                "ms",
                None,
                "",
                None,
            ),
            less(
                "simulated.change_20.p99_ms",
                "one change in 20 simulated members: a member shows it, p99",
                "ms",
                None,
                "",
                None,
            ),
            less(
                "simulated.change_100.p50_ms",
                "one change in 100 simulated members: a member shows it, p50",
                "ms",
                None,
                "",
                None,
            ),
            less(
                "simulated.change_100.p99_ms",
                "one change in 100 simulated members: a member shows it, p99",
                "ms",
                Some(20_000.0),
                "KubeFleet p90 20 s",
                Some(2000.0),
            ),
            less(
                "simulated.restart_100.placed_s",
                "100 simulated members × 100 placements: time until created, placed and available",
                "s",
                None,
                "",
                None,
            ),
            less(
                "simulated.restart_100.quiet_s",
                "cold restart, 100 simulated members × 100 placements: time until idle",
                "s",
                None,
                "",
                None,
            ),
            less("simulated.restart_100.cpu_s", "CPU of the operator until then", "CPU-s", None, "", None),
            less("simulated.restart_100.rss_mb", "memory of the operator", "MB", None, "", None),
            less("simulated.restart_100.writes", "writes of the operator to members", "", None, "", Some(0.0)),
            less(
                "simulated.restart_1000.placed_s",
                "1,000 simulated members × 100 placements: time until created, placed and available",
                "s",
                None,
                "",
                None,
            ),
            less(
                "simulated.restart_1000.quiet_s",
                "cold restart, 1,000 simulated members × 100 placements: time until idle",
                "s",
                None,
                "",
                Some(30.0),
            ),
            less("simulated.restart_1000.cpu_s", "CPU of the operator until then", "CPU-s", None, "", None),
            less("simulated.restart_1000.rss_mb", "memory of the operator", "MB", None, "", Some(2048.0)),
            less("simulated.restart_1000.writes", "writes of the operator to members", "", None, "", Some(0.0)),
        ],
    },
];
