//! What is on it.

/// How a panel shows its series.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Over time, as lines.
    Lines,
    /// Over time, as what state each was in.
    States,
    /// Of the last sample, a number for each state.
    Counts,
    /// Of the last sample, a bar each.
    Bars,
    /// Of the last sample, their labels.
    Table,
}

/// An expression, and what its series are called.
pub(super) struct Query {
    pub(super) expr: &'static str,
    pub(super) legend: &'static str,
}

/// One panel.
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) kind: Kind,
    /// Grafana's name of it.
    pub(super) unit: &'static str,
    /// Columns and lines.
    pub(super) size: (u64, u64),
    /// The limit that it is about; none: all of them.
    pub(super) limit: Option<&'static str>,
    pub(super) queries: Vec<Query>,
}

impl Panel {
    fn new(title: &'static str, kind: Kind, size: (u64, u64), description: &'static str) -> Self {
        Self { title, description, kind, unit: "short", size, limit: None, queries: vec![] }
    }

    fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    fn about(self, limit: &'static str) -> Self {
        Self { limit: Some(limit), ..self }
    }

    fn query(mut self, expr: &'static str, legend: &'static str) -> Self {
        self.queries.push(Query { expr, legend });
        self
    }
}

/// By numbers, the worst last; and colours that the colour-blind can tell apart (Okabe and Ito).
pub(super) const STATES: [(&str, u8, &str); 4] =
    [("clear", 0, "#56B4E9"), ("unknown", 1, "#999999"), ("near", 2, "#F0E442"), ("limiting", 3, "#D55E00")];

/// Rows, from top to bottom.
pub(super) fn rows() -> Vec<(&'static str, Vec<Panel>)> {
    vec![
        ("Verdict", verdict()),
        ("Headroom", headroom()),
        ("Listeners", listeners()),
        ("Kernel", kernel()),
        ("What could not be seen", unseen()),
        ("tcproof itself", own()),
    ]
}

fn verdict() -> Vec<Panel> {
    vec![
        Panel::new("Limits by state", Kind::Counts, (24, 4), "Limits in each state now, on all chosen hosts together.")
            .query(r#"sum by (state) (tcproof_limit_state{instance=~"$instance"})"#, "{{state}}"),
        Panel::new(
            "State of each limit",
            Kind::States,
            (24, 18),
            "The worst state on any of the chosen hosts. Unknown is what lacked a reading: it is not clear. A click on a limit \
             leads to its page.",
        )
        .query(
            "max by (limit) (3 * tcproof_limit_state{instance=~\"$instance\",state=\"limiting\"} or \
             2 * tcproof_limit_state{instance=~\"$instance\",state=\"near\"} or \
             tcproof_limit_state{instance=~\"$instance\",state=\"unknown\"})",
            "{{limit}}",
        ),
        Panel::new(
            "Found in the last window",
            Kind::Table,
            (12, 9),
            "What is near its limit or limiting, where, and by which cause. Empty where nothing is. `tcproof check` on that host \
             says whose it is, what was ruled out, and what to do.",
        )
        .query(r#"tcproof_findings{instance=~"$instance"}"#, ""),
        Panel::new(
            "Traffic hurt",
            Kind::Lines,
            (12, 9),
            "Handshakes, segments and connects that a limit hurt, per second. Empty where nothing was hurt.",
        )
        .unit("cps")
        .query(
            r#"sum by (instance, limit) (rate(tcproof_hurt_total{instance=~"$instance"}[$__rate_interval])) > 0"#,
            "{{limit}} on {{instance}}",
        ),
    ]
}

fn headroom() -> Vec<Panel> {
    vec![
        Panel::new(
            "Fullest now",
            Kind::Bars,
            (12, 12),
            "Used of capacity, of the fifteen fullest. Full alone is no finding: the states above say what hurts.",
        )
        .unit("percentunit")
        .query(
            "topk(15, tcproof_limit_used{instance=~\"$instance\",netns=~\"$netns|\"} / \
             (tcproof_limit_capacity{instance=~\"$instance\",netns=~\"$netns|\"} > 0))",
            "{{limit}}: {{subject}} {{netns}} on {{instance}}",
        ),
        Panel::new(
            "Used of capacity",
            Kind::Lines,
            (12, 12),
            "Of each limit the fullest subject: a listener, a destination, a namespace, a process, a host.",
        )
        .unit("percentunit")
        .query(
            "max by (instance, limit) (tcproof_limit_used{instance=~\"$instance\",netns=~\"$netns|\"} / \
             (tcproof_limit_capacity{instance=~\"$instance\",netns=~\"$netns|\"} > 0))",
            "{{limit}} on {{instance}}",
        ),
    ]
}

fn listeners() -> Vec<Panel> {
    let queue = Panel::new(
        "Accept queues",
        Kind::Lines,
        (12, 9),
        "Connections that waited for accept(2), the most in a window, and how many the queue takes. Bursts fall between looks: \
         drops are what proves that a queue was full.",
    )
    .about("accept-queue")
    .query(r#"tcproof_listener_queue{instance=~"$instance",netns=~"$netns"}"#, "{{listener}} {{netns}} on {{instance}}")
    .query(
        r#"tcproof_listener_queue_limit{instance=~"$instance",netns=~"$netns"}"#,
        "{{listener}} {{netns}} on {{instance}}: takes",
    );
    let drops = Panel::new(
        "Handshakes dropped by listeners",
        Kind::Lines,
        (12, 9),
        "Per second. Not only for a full queue: the states above say whether it was that.",
    )
    .about("accept-queue")
    .unit("cps")
    .query(
        r#"rate(tcproof_listener_drops_total{instance=~"$instance",netns=~"$netns|other"}[$__rate_interval])"#,
        "{{listener}} {{netns}} on {{instance}}",
    );
    vec![queue, drops]
}

fn kernel() -> Vec<Panel> {
    vec![
        Panel::new(
            "Kernel events",
            Kind::Lines,
            (12, 10),
            "The kernel's counters that limits are judged by, per second, those that grow. `tcproof explain COUNTER` says what \
             one proves, and what not.",
        )
        .unit("cps")
        .query(
            "sum by (counter) (rate(tcproof_kernel_events_total{instance=~\"$instance\",netns=~\"$netns\"}[$__rate_interval])) \
             > 0",
            "{{counter}}",
        ),
        Panel::new("Sockets", Kind::Lines, (12, 10), "As sockstat has them: in use, and in TIME_WAIT. Many are no finding.")
            .about("time-wait-table")
            .query(
                r#"sum by (instance, netns, state) (tcproof_sockets{instance=~"$instance",netns=~"$netns"})"#,
                "{{state}} {{netns}} on {{instance}}",
            ),
    ]
}

fn unseen() -> Vec<Panel> {
    vec![
        Panel::new(
            "Readings absent",
            Kind::Lines,
            (12, 8),
            "Readings that limits lacked in the last window; of all: places that nobody could look into. `tcproof doctor` says \
             why, and what would change it.",
        )
        .query(r#"sum by (instance, limit) (tcproof_readings_absent{instance=~"$instance"})"#, "{{limit}} on {{instance}}"),
        Panel::new("Namespaces watched", Kind::Lines, (6, 8), "Network namespaces that were seen.")
            .query(r#"tcproof_namespaces{instance=~"$instance"}"#, "{{instance}}"),
        Panel::new(
            "Subjects without a series",
            Kind::Lines,
            (6, 8),
            "Each limit shows its ten fullest; these are the others. They are judged all the same.",
        )
        .query(r#"sum by (limit) (tcproof_limit_subjects_omitted{instance=~"$instance"})"#, "{{limit}}"),
    ]
}

fn own() -> Vec<Panel> {
    vec![
        Panel::new("CPU", Kind::Lines, (6, 8), "Of one CPU, what tcproof uses.")
            .unit("percentunit")
            .query(r#"rate(process_cpu_seconds_total{instance=~"$instance"}[$__rate_interval])"#, "{{instance}}"),
        Panel::new("Memory", Kind::Lines, (6, 8), "Resident memory of tcproof.")
            .unit("bytes")
            .query(r#"process_resident_memory_bytes{instance=~"$instance"}"#, "{{instance}}"),
        Panel::new(
            "Time",
            Kind::Lines,
            (6, 8),
            "How long a window is, how long reading took besides, and how old the last window is: while that grows, nobody \
             watches.",
        )
        .unit("s")
        .query(r#"tcproof_window_seconds{instance=~"$instance"}"#, "window on {{instance}}")
        .query(r#"tcproof_collection_seconds{instance=~"$instance"}"#, "reading on {{instance}}")
        .query(r#"time() - tcproof_window_end_timestamp_seconds{instance=~"$instance"}"#, "age on {{instance}}"),
        Panel::new("Connections refused", Kind::Lines, (6, 8), "Scrapers that were one too many, per second.")
            .unit("cps")
            .query(r#"rate(tcproof_connections_refused_total{instance=~"$instance"}[$__rate_interval])"#, "{{instance}}"),
        Panel::new("Versions", Kind::Table, (24, 5), "Which tcproof this is, and on which kernel.")
            .query(r#"tcproof_build_info{instance=~"$instance"}"#, ""),
    ]
}
