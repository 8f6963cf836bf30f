//! Turns steps into records. Who writes them to a file writes each by one write(2), and says so when that failed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::delta::diff;
use crate::frame::Frame;
use crate::node::Node;
use crate::{Error, MOST_TREE, Redactor, Step};

/// Every so many records one holds everything.
pub const KEY_EVERY: u32 = 60;

/// What a record's delta is made against: the step before.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) after: Node,
    pub(crate) looks: Node,
    pub(crate) trace: Node,
}

impl Base {
    /// The tree that a delta starts from: it begins where the step before ended, and ends as if nothing had happened.
    pub(crate) fn tree(self) -> Node {
        let parts =
            [("before", self.after.clone()), ("after", self.after), ("looks", self.looks), ("trace", self.trace)];
        Node::Map(parts.into_iter().map(|(key, node)| (key.to_string(), node)).collect())
    }

    pub(crate) fn of_key(before: Node) -> Self {
        Self { after: before, looks: Node::Null, trace: Node::Null }
    }

    /// What the next delta is made against.
    pub(crate) fn of(tree: &Node) -> Option<Self> {
        let Node::Map(parts) = tree else { return None };
        let part = |key: &str| parts.get(key).cloned();
        Some(Self { after: part("after")?, looks: part("looks")?, trace: part("trace")? })
    }
}

/// Makes the records of one file.
#[derive(Debug, Default)]
pub struct Recorder {
    base: Option<Base>,
    number: u32,
    since_key: u32,
    redactor: Option<Redactor>,
}

impl Recorder {
    /// For a file that holds records up to, but not with, this number. The first is one that holds everything.
    pub fn new(number: u32, redactor: Option<Redactor>) -> Self {
        Self { base: None, number, since_key: 0, redactor }
    }

    /// The bytes of the next record.
    ///
    /// # Errors
    /// It holds more than a record may; then the next one holds everything.
    pub fn record(&mut self, step: &Step) -> Result<Vec<u8>, Error> {
        let base = self.base.take().filter(|_| self.since_key < KEY_EVERY);
        let too_large = |what: String| Error::TooLarge { what };
        let value = serde_json::to_value(&step.interval).map_err(|error| too_large(error.to_string()))?;
        let mut tree = Node::from(value);
        for_each_list_of_flows(&mut tree, keyed);
        if let Some(redactor) = &self.redactor {
            redactor.redact(&mut tree);
        }
        let values = tree.count();
        if values > MOST_TREE / 2 {
            return Err(too_large(format!("{values} values in one record, of at most {}", MOST_TREE / 2)));
        }
        let is_key = base.is_none();
        let mut payload = Vec::new();
        let base = match base {
            Some(base) => base,
            None => {
                let Node::Map(parts) = &tree else { return Err(too_large("no interval".into())) };
                let before = parts.get("before").cloned().unwrap_or_default();
                before.write(&mut payload);
                Base::of_key(before)
            }
        };
        payload.extend(diff(&base.tree(), &tree));
        let span = step.interval.window();
        let frame = Frame { is_key, number: self.number, wall_ms: step.wall_ms, mono: step.mono, span, packed: 0 };
        let bytes = frame.to_bytes(&payload)?;
        self.base = Base::of(&tree);
        self.number = self.number.wrapping_add(1);
        self.since_key = if is_key { 1 } else { self.since_key + 1 };
        Ok(bytes)
    }

    /// The last record did not come to stand in the file.
    pub fn forget(&mut self) {
        self.base = None;
        self.number = self.number.wrapping_sub(1);
    }
}

/// Calls `change` with the watched flows of each namespace.
fn for_each_list_of_flows(tree: &mut Node, change: impl Fn(&mut Node)) {
    fn within<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
        if let Node::Map(map) = node { map.get_mut(key) } else { None }
    }
    let Some(Node::Map(places)) = within(tree, "looks").and_then(|looks| within(looks, "flows")) else { return };
    for flows in places.values_mut() {
        if let Some(watched) = within(flows, "present").and_then(|flows| within(flows, "watched")) {
            change(watched);
        }
    }
}

/// Flows by their cookies: in a list, one that comes or goes would change the place of all others, and a delta be as large
/// as they all are. They are read back in the order of their cookies.
fn keyed(watched: &mut Node) {
    let Node::List(flows) = watched else { return };
    let cookie = |node: &Node| match node {
        Node::Map(watch) => match watch.get("flow") {
            Some(Node::Map(flow)) => flow.get("cookie").cloned(),
            _ => None,
        },
        _ => None,
    };
    let named = flows.iter().map(|node| match cookie(node) {
        Some(Node::Int(cookie)) => Some((format!("{cookie:020}"), node.clone())),
        _ => None,
    });
    let named: Option<BTreeMap<_, _>> = named.collect();
    if let Some(named) = named.filter(|named| named.len() == flows.len()) {
        *watched = Node::Map(named);
    }
}

fn listed(watched: &mut Node) {
    if let Node::Map(flows) = watched {
        *watched = Node::List(std::mem::take(flows).into_values().collect());
    }
}

/// What a tree says.
pub(crate) fn interval(mut tree: Node) -> Result<tcproof_core::Interval, String> {
    for_each_list_of_flows(&mut tree, listed);
    serde_json::from_value(Value::from(tree)).map_err(|error| format!("expected an interval: {error}"))
}
