//! A tree of values: what serde makes of a step, with its maps in order, and its bytes.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use crate::frame::MOST_TREE;

/// A value. Unlike serde_json's its maps are always ordered, which the numbering of a delta rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Node {
    /// Nothing.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number: all of u64 and i64.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map.
    Map(BTreeMap<String, Node>),
}

/// Trees here are ten deep; a hostile one must not exhaust the stack.
const DEEPEST: usize = 48;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const LIST: u8 = 6;
const MAP: u8 = 7;

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(is) => Self::Bool(is),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(whole), _) => Self::Int(whole.into()),
                (_, Some(whole)) => Self::Int(whole.into()),
                _ => Self::Float(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => Self::Text(text),
            Value::Array(list) => Self::List(list.into_iter().map(Self::from).collect()),
            Value::Object(map) => Self::Map(map.into_iter().map(|(key, value)| (key, value.into())).collect()),
        }
    }
}

impl From<Node> for Value {
    fn from(node: Node) -> Self {
        match node {
            Node::Null => Self::Null,
            Node::Bool(is) => Self::Bool(is),
            Node::Int(whole) => match (u64::try_from(whole), i64::try_from(whole)) {
                (Ok(whole), _) => whole.into(),
                (_, Ok(whole)) => whole.into(),
                // No number that was written is beyond both.
                _ => Self::Null,
            },
            Node::Float(number) => Number::from_f64(number).map_or(Self::Null, Self::Number),
            Node::Text(text) => Self::String(text),
            Node::List(list) => Self::Array(list.into_iter().map(Self::from).collect()),
            Node::Map(map) => {
                Self::Object(map.into_iter().map(|(key, node)| (key, node.into())).collect::<Map<_, _>>())
            }
        }
    }
}

impl Node {
    /// Nodes in it, itself included.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::List(list) => 1 + list.iter().map(Self::count).sum::<u64>(),
            Self::Map(map) => 1 + map.values().map(Self::count).sum::<u64>(),
            _ => 1,
        }
    }

    /// Whether two may be told apart by a delta of what they hold, rather than one put in place of the other.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        matches!((self, other), (Self::List(_), Self::List(_)) | (Self::Map(_), Self::Map(_)))
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(NULL),
            Self::Bool(is) => out.push(if *is { TRUE } else { FALSE }),
            Self::Int(whole) => {
                out.push(INT);
                put(out, zigzag(*whole));
            }
            Self::Float(number) => {
                out.push(FLOAT);
                out.extend(number.to_bits().to_le_bytes());
            }
            Self::Text(text) => {
                out.push(TEXT);
                put_text(out, text);
            }
            Self::List(list) => {
                out.push(LIST);
                put(out, list.len() as u128);
                list.iter().for_each(|node| node.write(out));
            }
            Self::Map(map) => {
                out.push(MAP);
                put(out, map.len() as u128);
                for (key, node) in map {
                    put_text(out, key);
                    node.write(out);
                }
            }
        }
    }

    pub(crate) fn read(from: &mut Bytes<'_>) -> Result<Self, String> {
        from.enter()?;
        let node = match from.byte()? {
            NULL => Self::Null,
            FALSE => Self::Bool(false),
            TRUE => Self::Bool(true),
            INT => Self::Int(unzigzag(from.number()?)),
            FLOAT => {
                let bytes = from.take(8)?.try_into().map_err(|_| "a number of 8 bytes".to_string())?;
                Self::Float(f64::from_bits(u64::from_le_bytes(bytes)))
            }
            TEXT => Self::Text(from.text()?),
            LIST => {
                let length = from.length()?;
                Self::List((0..length).map(|_| Self::read(from)).collect::<Result<_, _>>()?)
            }
            MAP => {
                let length = from.length()?;
                Self::Map((0..length).map(|_| Ok((from.text()?, Self::read(from)?))).collect::<Result<_, String>>()?)
            }
            other => return Err(format!("a kind of value from 0 to {MAP}, found {other}")),
        };
        from.leave();
        Ok(node)
    }
}

/// Small numbers of either sign are small.
pub(crate) fn zigzag(number: i128) -> u128 {
    ((number << 1) ^ (number >> 127)).cast_unsigned()
}

pub(crate) fn unzigzag(number: u128) -> i128 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Seven bits a byte, the least first.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u128);
    out.extend(text.as_bytes());
}

/// Bytes that are read one after the other, and how much may still be made of them.
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
    nodes: u64,
    depth: usize,
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, nodes: MOST_TREE, depth: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes so many values off what may still be made.
    pub(crate) fn spend(&mut self, nodes: u64) -> Result<(), String> {
        self.nodes = self.nodes.checked_sub(nodes).ok_or_else(|| format!("at most {MOST_TREE} values"))?;
        Ok(())
    }

    /// Reads some of the bytes that were taken, one level down.
    pub(crate) fn within<T>(
        &mut self,
        bytes: &'a [u8],
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        self.enter()?;
        let rest = std::mem::replace(&mut self.rest, bytes);
        let done = read(self);
        self.rest = rest;
        self.leave();
        done
    }

    /// Goes one level down.
    pub(crate) fn enter(&mut self) -> Result<(), String> {
        self.depth += 1;
        self.spend(1)?;
        if self.depth > DEEPEST { Err(format!("at most {DEEPEST} levels")) } else { Ok(()) }
    }

    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| format!("{length} more bytes"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, String> {
        self.take(1).map(|byte| byte[0])
    }

    pub(crate) fn number(&mut self) -> Result<u128, String> {
        let mut number = 0;
        for shift in (0..126).step_by(7) {
            let byte = self.byte()?;
            number |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number of at most 126 bits".into())
    }

    /// How many are to come; each takes a byte at least.
    pub(crate) fn length(&mut self) -> Result<usize, String> {
        let length = self.number()?;
        let fits = usize::try_from(length).ok().filter(|length| *length <= self.rest.len());
        fits.ok_or_else(|| format!("at most {} to come, found {length}", self.rest.len()))
    }

    pub(crate) fn text(&mut self) -> Result<String, String> {
        let length = self.length()?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| "UTF-8".into())
    }
}
