//! The few nf_tables objects that switch connection tracking on and off in a namespace.
//!
//! A namespace tracks nothing until something there needs it: the first rule with a `ct` expression registers the
//! tracking hooks, the last one's removal unregisters them.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use rustix::io::Errno;

use super::netlink::{Family, Message, Netlink};
use super::{Error, Result, netns};

const TABLE: &str = "tcproof";

// Names and numbers of linux/netfilter/nfnetlink.h and nf_tables.h.
const NFNL_SUBSYS_NONE: u8 = 0;
const NFNL_SUBSYS_NFTABLES: u8 = 10;
const NFNL_MSG_BATCH_BEGIN: u8 = 0x10;
const NFNL_MSG_BATCH_END: u8 = 0x11;
const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_DELTABLE: u8 = 2;
const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_NEWRULE: u8 = 6;
const NFPROTO_INET: u8 = 1;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFT_REG_1: u32 = 1;
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFT_CT_STATE: u32 = 0;
const NF_CT_STATE_INVALID_BIT: u32 = 1;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFT_REG_VERDICT: u32 = 0;
const NF_DROP: u32 = 0;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_META_L4PROTO: u32 = 16;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_DATA_VALUE: u16 = 1;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_NEQ: u32 = 1;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const IPPROTO_TCP: u8 = 6;

const NF_INET_PRE_ROUTING: u32 = 0;
const NF_INET_LOCAL_IN: u32 = 1;
const NF_INET_LOCAL_OUT: u32 = 3;
/// Before connection tracking, which sits at -200.
const PRIORITY_RAW: i32 = -300;
const PRIORITY_FILTER: i32 = 0;

/// Makes connection tracking active in this namespace: table `tcproof` whose input and output chains ask for `ct state`.
///
/// # Errors
/// [`Error::Unsupported`] if this kernel has no nf_tables or no `ct` expression.
pub fn track() -> Result<()> {
    let ct_state =
        |rule: Message| expression(rule, "ct", |m| m.number(NFTA_CT_DREG, NFT_REG_1).number(NFTA_CT_KEY, NFT_CT_STATE));
    commit(
        "track connections by nf_tables",
        vec![
            table(NFT_MSG_NEWTABLE, NLM_F_CREATE),
            chain("input", NF_INET_LOCAL_IN, PRIORITY_FILTER),
            chain("output", NF_INET_LOCAL_OUT, PRIORITY_FILTER),
            rule("input", ct_state),
            rule("output", ct_state),
        ],
    )
}

/// [`track`], and drops what is of no connection that is known: packets in the state INVALID.
///
/// # Errors
/// [`Error::Unsupported`] if this kernel has no nf_tables or not these expressions.
pub fn firewall() -> Result<()> {
    track()?;
    let invalid = |rule: Message| {
        let rule = expression(rule, "ct", |m| m.number(NFTA_CT_DREG, NFT_REG_1).number(NFTA_CT_KEY, NFT_CT_STATE));
        let data = |bits: u32| move |m: Message| m.attribute(NFTA_DATA_VALUE, &bits.to_ne_bytes());
        let rule = expression(rule, "bitwise", |m| {
            m.number(NFTA_BITWISE_SREG, NFT_REG_1)
                .number(NFTA_BITWISE_DREG, NFT_REG_1)
                .number(NFTA_BITWISE_LEN, 4)
                .nest(NFTA_BITWISE_MASK, data(NF_CT_STATE_INVALID_BIT))
                .nest(NFTA_BITWISE_XOR, data(0))
        });
        let rule = expression(rule, "cmp", |m| {
            m.number(NFTA_CMP_SREG, NFT_REG_1).number(NFTA_CMP_OP, NFT_CMP_NEQ).nest(NFTA_CMP_DATA, data(0))
        });
        expression(rule, "immediate", |m| {
            m.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT)
                .nest(NFTA_IMMEDIATE_DATA, |m| m.nest(NFTA_DATA_VERDICT, |m| m.number(NFTA_VERDICT_CODE, NF_DROP)))
        })
    };
    commit("drop invalid packets by nf_tables", vec![rule("input", invalid)])
}

/// Exempts traffic from connection tracking: all of it, or TCP from and to one port.
///
/// # Errors
/// [`Error::Unsupported`] if this kernel has no nf_tables or no `notrack` expression.
pub fn notrack(port: Option<u16>) -> Result<()> {
    let notrack = |rule: Message| expression(rule, "notrack", |m| m);
    let mut messages = vec![
        table(NFT_MSG_NEWTABLE, NLM_F_CREATE),
        chain("raw-prerouting", NF_INET_PRE_ROUTING, PRIORITY_RAW),
        chain("raw-output", NF_INET_LOCAL_OUT, PRIORITY_RAW),
    ];
    for chain in ["raw-prerouting", "raw-output"] {
        match port {
            None => messages.push(rule(chain, notrack)),
            // Both directions cross both hooks: source port at offset 0, destination port at 2.
            Some(port) => messages.extend([0, 2].map(|offset| rule(chain, |r| notrack(tcp_port(r, offset, port))))),
        }
    }
    commit("exempt connections from tracking by nf_tables", messages)
}

/// Removes all that [`track`] and [`notrack`] made in this namespace, if anything.
///
/// # Errors
/// [`Error::Unsupported`] if this kernel has no nf_tables.
pub fn remove() -> Result<()> {
    match commit("remove the nf_tables table", vec![table(NFT_MSG_DELTABLE, 0)]) {
        Err(error) if error.errno() == Some(Errno::NOENT.raw_os_error()) => Ok(()),
        done => done,
    }
}

/// One transaction: all of it or nothing.
fn commit(operation: &str, messages: Vec<Message>) -> Result<()> {
    netns::require_lab(operation)?;
    // The two edges belong to no subsystem; nfgenmsg's resource id names the one that the batch is for.
    let edge = |number| Message::netfilter(NFNL_SUBSYS_NONE, number, 0, 0, u16::from(NFNL_SUBSYS_NFTABLES));
    let mut batch = vec![edge(NFNL_MSG_BATCH_BEGIN)];
    batch.extend(messages);
    batch.push(edge(NFNL_MSG_BATCH_END));
    let refused = Netlink::open(Family::Netfilter)?.batch(operation, &batch)?;
    match refused.first() {
        None => Ok(()),
        // The batch itself is refused where no nf_tables answers for it.
        Some((0, Errno::OPNOTSUPP | Errno::INVAL)) => Err(Error::Unsupported("nf_tables".to_owned())),
        // The only thing that a new rule can miss, its table and chain being in the same batch.
        Some((place, Errno::NOENT)) if place_is_rule(&batch, *place) => {
            Err(Error::Unsupported("nf_tables expression ct, notrack, meta or payload".to_owned()))
        }
        Some((_, errno)) => Err(Error::kernel(operation, *errno)),
    }
}

fn nftables(number: u8, flags: u16) -> Message {
    Message::netfilter(NFNL_SUBSYS_NFTABLES, number, flags, NFPROTO_INET, 0)
}

fn place_is_rule(batch: &[Message], place: usize) -> bool {
    batch.get(place).is_some_and(|m| m.message_type() == nftables(NFT_MSG_NEWRULE, 0).message_type())
}

fn table(number: u8, flags: u16) -> Message {
    nftables(number, flags).text(NFTA_TABLE_NAME, TABLE)
}

fn chain(name: &str, hook: u32, priority: i32) -> Message {
    nftables(NFT_MSG_NEWCHAIN, NLM_F_CREATE)
        .text(NFTA_CHAIN_TABLE, TABLE)
        .text(NFTA_CHAIN_NAME, name)
        .nest(NFTA_CHAIN_HOOK, |m| {
            m.number(NFTA_HOOK_HOOKNUM, hook).attribute(NFTA_HOOK_PRIORITY, &priority.to_be_bytes())
        })
        .text(NFTA_CHAIN_TYPE, "filter")
}

fn rule(chain: &str, expressions: impl FnOnce(Message) -> Message) -> Message {
    nftables(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND)
        .text(NFTA_RULE_TABLE, TABLE)
        .text(NFTA_RULE_CHAIN, chain)
        .nest(NFTA_RULE_EXPRESSIONS, expressions)
}

fn expression(list: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    list.nest(NFTA_LIST_ELEM, |m| m.text(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, data))
}

/// `meta l4proto tcp` and a port of the TCP header.
fn tcp_port(rule: Message, offset: u32, port: u16) -> Message {
    let rule =
        expression(rule, "meta", |m| m.number(NFTA_META_DREG, NFT_REG_1).number(NFTA_META_KEY, NFT_META_L4PROTO));
    let rule = equals(rule, &[IPPROTO_TCP]);
    let rule = expression(rule, "payload", |m| {
        m.number(NFTA_PAYLOAD_DREG, NFT_REG_1)
            .number(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER)
            .number(NFTA_PAYLOAD_OFFSET, offset)
            .number(NFTA_PAYLOAD_LEN, 2)
    });
    equals(rule, &port.to_be_bytes())
}

fn equals(rule: Message, value: &[u8]) -> Message {
    expression(rule, "cmp", |m| {
        m.number(NFTA_CMP_SREG, NFT_REG_1)
            .number(NFTA_CMP_OP, NFT_CMP_EQ)
            .nest(NFTA_CMP_DATA, |m| m.attribute(NFTA_DATA_VALUE, value))
    })
}
