//! What changed from one tree to the next.
//!
//! The values of the old tree are numbered as they are met from its root down. Only those that changed are named, each by
//! the distance from the one before: what stays as it is costs nothing, wherever it is. A counter that grew by 3 is two
//! bytes.

use crate::node::{Bytes, Node, put, put_text, unzigzag, zigzag};

/// Another value stands in its place.
const OTHER: u128 = 0;
/// A whole number grew, or went down.
const PLUS: u128 = 1;
/// Keys left and came, or a list became shorter or longer.
const SHAPE: u128 = 2;
/// Kinds of change that there is room for.
const KINDS: u128 = 4;

/// The bytes that make `new` of `old`.
pub fn diff(old: &Node, new: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    Diff { out: &mut out, at: 0, said: 0 }.walk(old, new);
    out
}

/// `old` with the changes made; what is wrong with the bytes otherwise.
pub fn apply(old: &mut Node, bytes: &[u8]) -> Result<(), String> {
    apply_from(old, &mut Bytes::new(bytes))
}

pub(crate) fn apply_from(old: &mut Node, bytes: &mut Bytes<'_>) -> Result<(), String> {
    let mut apply = Apply { bytes, at: 0, next: None, said: 0 };
    apply.advance()?;
    apply.walk(old)?;
    match apply.next {
        Some(_) => Err(format!("no change beyond value {}", apply.at)),
        None => Ok(()),
    }
}

struct Diff<'a> {
    out: &'a mut Vec<u8>,
    /// Number of the value that is met next.
    at: u64,
    /// Number after the last that was named.
    said: u64,
}

impl Diff<'_> {
    fn name(&mut self, at: u64, kind: u128) {
        put(self.out, u128::from(at - self.said) * KINDS + kind);
        self.said = at + 1;
    }

    fn walk(&mut self, old: &Node, new: &Node) {
        let at = self.at;
        match (old, new) {
            (Node::Int(was), Node::Int(is)) => {
                if was != is {
                    self.name(at, PLUS);
                    put(self.out, zigzag(is - was));
                }
                self.at += 1;
            }
            (Node::Map(was), Node::Map(is)) => {
                self.at += 1;
                let left: Vec<usize> =
                    was.keys().enumerate().filter(|(_, key)| !is.contains_key(*key)).map(|(n, _)| n).collect();
                let came: Vec<_> = is.iter().filter(|(key, _)| !was.contains_key(*key)).collect();
                if !left.is_empty() || !came.is_empty() {
                    self.name(at, SHAPE);
                    put(self.out, left.len() as u128);
                    let mut said = 0;
                    for n in left {
                        put(self.out, (n - said) as u128);
                        said = n + 1;
                    }
                    put(self.out, came.len() as u128);
                    let mut before = was.values().last();
                    for (key, node) in came {
                        put_text(self.out, key);
                        follow(before, node, self.out);
                        before = Some(node);
                    }
                }
                // Those that left are not numbered any more.
                for (was, is) in was.iter().filter_map(|(key, was)| Some((was, is.get(key)?))) {
                    self.walk(was, is);
                }
            }
            (Node::List(was), Node::List(is)) => {
                self.at += 1;
                if was.len() != is.len() {
                    self.name(at, SHAPE);
                    put(self.out, is.len() as u128);
                    let mut before = was.last();
                    for node in is.iter().skip(was.len()) {
                        follow(before, node, self.out);
                        before = Some(node);
                    }
                }
                for (was, is) in was.iter().zip(is) {
                    self.walk(was, is);
                }
            }
            (was, is) => {
                if was != is {
                    self.name(at, OTHER);
                    is.write(self.out);
                }
                // The old one is not gone into, so its parts have no numbers.
                self.at += 1;
            }
        }
    }
}

/// Writes one more of a list or a map: by what it differs from the one before, which is most often of the same make.
fn follow(before: Option<&Node>, node: &Node, out: &mut Vec<u8>) {
    match before.filter(|before| before.is_like(node)) {
        Some(before) => {
            let changes = diff(before, node);
            out.push(1);
            put(out, changes.len() as u128);
            out.extend(changes);
        }
        None => {
            out.push(0);
            node.write(out);
        }
    }
}

struct Apply<'a, 'b> {
    bytes: &'b mut Bytes<'a>,
    at: u64,
    /// The change to come: of which value, and of which kind.
    next: Option<(u64, u128)>,
    said: u64,
}

impl Apply<'_, '_> {
    fn advance(&mut self) -> Result<(), String> {
        self.next = match self.bytes.is_empty() {
            true => None,
            false => {
                let word = self.bytes.number()?;
                let far = u64::try_from(word / KINDS).ok().and_then(|gap| self.said.checked_add(gap));
                let at = far.filter(|at| *at < u64::MAX).ok_or("the number of a value")?;
                self.said = at + 1;
                Some((at, word % KINDS))
            }
        };
        Ok(())
    }

    fn walk(&mut self, node: &mut Node) -> Result<(), String> {
        let here = self.next.filter(|(at, _)| *at == self.at).map(|(_, kind)| kind);
        self.at += 1;
        let Some(kind) = here else { return self.children(node) };
        match (kind, &mut *node) {
            (OTHER, node) => {
                *node = Node::read(self.bytes)?;
                self.advance()
            }
            (PLUS, Node::Int(number)) => {
                let sum = number.checked_add(unzigzag(self.bytes.number()?));
                *number = sum.ok_or("a number of 128 bits")?;
                self.advance()
            }
            (SHAPE, Node::Map(map)) => {
                let keys: Vec<String> = map.keys().cloned().collect();
                // One that left may be what those that came are told by.
                let last = map.values().last().cloned();
                self.bytes.spend(last.as_ref().map_or(0, Node::count))?;
                let mut n = 0_usize;
                for _ in 0..self.bytes.length()? {
                    let gap = usize::try_from(self.bytes.number()?).ok();
                    n = gap.and_then(|gap| n.checked_add(gap)).ok_or("the number of a key")?;
                    let key = keys.get(n).ok_or_else(|| format!("one of {} keys, found {n}", keys.len()))?;
                    map.remove(key);
                    n += 1;
                }
                let mut came: Vec<(String, Node)> = Vec::new();
                for _ in 0..self.bytes.length()? {
                    let key = self.bytes.text()?;
                    let node = self.followed(came.last().map(|(_, node)| node).or(last.as_ref()))?;
                    came.push((key, node));
                }
                self.advance()?;
                self.children(node)?;
                if let Node::Map(map) = node {
                    map.extend(came);
                }
                Ok(())
            }
            (SHAPE, Node::List(list)) => {
                let length = usize::try_from(self.bytes.number()?).map_err(|_| "a length".to_string())?;
                let mut came: Vec<Node> = Vec::new();
                for _ in list.len()..length {
                    let node = self.followed(came.last().or(list.last()))?;
                    came.push(node);
                }
                list.truncate(length);
                self.advance()?;
                self.children(node)?;
                if let Node::List(list) = node {
                    list.extend(came);
                }
                Ok(())
            }
            _ => Err(format!("a change that value {} can take, found kind {kind}", self.at - 1)),
        }
    }

    /// What [`follow`] wrote.
    fn followed(&mut self, before: Option<&Node>) -> Result<Node, String> {
        if self.bytes.byte()? == 0 {
            return Node::read(self.bytes);
        }
        let length = self.bytes.length()?;
        let changes = self.bytes.take(length)?;
        let mut node = before.ok_or("one before it")?.clone();
        // What is copied counts as what is read.
        self.bytes.spend(node.count())?;
        self.bytes.within(changes, |bytes| apply_from(&mut node, bytes))?;
        Ok(node)
    }

    fn children(&mut self, node: &mut Node) -> Result<(), String> {
        match node {
            Node::List(list) => list.iter_mut().try_for_each(|node| self.walk(node)),
            Node::Map(map) => map.values_mut().try_for_each(|node| self.walk(node)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn tree() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            Just(Node::Null),
            any::<bool>().prop_map(Node::Bool),
            any::<u64>().prop_map(|n| Node::Int(n.into())),
            any::<i64>().prop_map(|n| Node::Int(n.into())),
            (-5_i128..5).prop_map(Node::Int),
            (-1e9..1e9_f64).prop_map(Node::Float),
            "[a-c]{0,3}".prop_map(Node::Text),
        ];
        leaf.prop_recursive(4, 64, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Node::List),
                proptest::collection::btree_map("[a-d]", inner, 0..5).prop_map(Node::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_sequence_of_trees_comes_back(trees in proptest::collection::vec(tree(), 1..8)) {
            let mut now = Node::Null;
            for pair in [Node::Null].iter().chain(&trees).zip(&trees) {
                let bytes = diff(pair.0, pair.1);
                apply(&mut now, &bytes).unwrap();
                prop_assert_eq!(&now, pair.1);
                prop_assert_eq!(diff(pair.1, &now).len(), 0);
            }
        }

        #[test]
        fn bytes_that_are_no_delta_are_refused_and_never_more(
            mut old in tree(),
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = apply(&mut old, &bytes);
        }

        #[test]
        fn values_of_json_come_back(node in tree()) {
            let value = serde_json::Value::from(node.clone());
            prop_assert_eq!(Node::from(value), node);
        }
    }

    #[test]
    fn what_stays_costs_nothing_and_what_grew_two_bytes() {
        let tree = |n: i128| Node::List((0..60).map(|at| Node::Int(if at == 30 { n } else { 7 })).collect());
        assert_eq!(diff(&tree(1), &tree(1)).len(), 0);
        assert!(diff(&tree(1), &tree(4)).len() <= 3);
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let mut bytes = vec![0];
        bytes.extend([6, 1].repeat(100_000));
        assert!(apply(&mut Node::Null, &bytes).unwrap_err().contains("levels"));
        // A list said to be long, of copies of a long one.
        let mut bomb = Node::List(vec![Node::List(vec![Node::Null; 100_000])]);
        let mut bytes = vec![2];
        put(&mut bytes, 1_000_000);
        bytes.extend([1, 0].repeat(1_000_000));
        assert!(apply(&mut bomb, &bytes).unwrap_err().contains("values"));
    }
}
