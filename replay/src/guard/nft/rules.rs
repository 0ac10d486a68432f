//! The rules themselves, and how they are read back.
//!
//! Addresses are matched at their offset in the network header rather than by protocol name: nft's names
//! imply a check of the EtherType, which is wrong behind a VLAN tag, while the kernel puts the network header
//! of a tagged frame where it belongs. The first four bits tell IPv4, IPv6 and ARP apart.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use nftables::batch::Batch;
use nftables::expr::{Expression, Meta, MetaKey, NamedExpression, Payload, PayloadBase, PayloadRaw};
use nftables::schema::{Chain, NfListObject, Nftables, Rule, Table};
use nftables::stmt::{Counter, JumpTarget, Match, Operator, Statement};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};
use serde_json::Value;
use sha1::{Digest, Sha1};

use super::super::Allowlist;
use super::{Blocked, NftPlan};
use crate::rewrite::GroupPolicy;

/// Before every chain that others are likely to have (raw is -300), so that nothing of the test is answered,
/// tracked or logged by them.
const PRIORITY: i32 = -500;

/// The mark for a table: never 0, which is what unmarked frames have.
pub(super) fn mark(table: &str) -> u32 {
    let digest = Sha1::digest(table.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) | 1
}

/// Where two addresses stand in a network header, in bits, and where a packet with both is sent on.
struct Pair {
    name: &'static str,
    source: u32,
    destination: u32,
}

const IPV4: Pair = Pair { name: "ipv4", source: 96, destination: 128 };
const IPV6: Pair = Pair { name: "ipv6", source: 64, destination: 192 };
const ARP: Pair = Pair { name: "arp", source: 112, destination: 192 };

struct Rules<'a> {
    table: &'a str,
    batch: Batch<'a>,
}

/// The transaction that puts up everything.
pub(super) fn build<'a>(table: &'a str, mark: u32, plan: &NftPlan<'_>) -> Nftables<'a> {
    let mut rules = Rules { table, batch: Batch::new() };
    rules.batch.add(NfListObject::Table(Table {
        family: NfFamily::NetDev,
        name: table.into(),
        handle: None,
    }));
    let (v4, v6) = prefixes(plan.allow);
    rules.pair(&IPV4, &v4);
    rules.pair(&IPV6, &v6);
    let arp = plan.allow.groups() == GroupPolicy::Keep;
    if arp {
        rules.pair(&ARP, &v4);
    }
    for (i, name) in plan.send.iter().enumerate() {
        rules.shut(&format!("in_{i}"), NfHook::Ingress, name);
        let chain = format!("out_{i}");
        rules.base_chain(&chain, NfHook::Egress, name);
        let unmarked = matches(meta(MetaKey::Mark), Operator::NEQ, mark);
        rules.rule(&chain, Some(name), vec![unmarked, counter(), Statement::Drop(None)]);
        for (bits, version, pair) in [(4, 4, &IPV4), (4, 6, &IPV6), (16, 1, &ARP)] {
            if pair.name != ARP.name || arp {
                let is = matches(network_header(0, bits), Operator::EQ, version);
                rules.rule(&chain, None, vec![is, jump(&format!("{}_source", pair.name))]);
            }
        }
        rules.rule(&chain, None, vec![counter(), Statement::Drop(None)]);
    }
    for (i, name) in plan.quiet.iter().enumerate() {
        rules.shut(&format!("quiet_in_{i}"), NfHook::Ingress, name);
        rules.shut(&format!("quiet_out_{i}"), NfHook::Egress, name);
    }
    rules.batch.to_nftables()
}

impl Rules<'_> {
    fn chain(&mut self, name: &str, base: Option<(NfHook, &str)>) {
        self.batch.add(NfListObject::Chain(Chain {
            family: NfFamily::NetDev,
            table: self.table.to_owned().into(),
            name: name.to_owned().into(),
            _type: base.map(|_| NfChainType::Filter),
            hook: base.map(|(hook, _)| hook),
            prio: base.map(|_| PRIORITY),
            dev: base.map(|(_, dev)| dev.to_owned().into()),
            policy: base.map(|_| NfChainPolicy::Drop),
            ..Chain::default()
        }));
    }

    fn base_chain(&mut self, name: &str, hook: NfHook, interface: &str) {
        self.chain(name, Some((hook, interface)));
    }

    /// A chain that drops and counts everything. The comment says which interface: nft 1.0.6 does not list
    /// it.
    fn shut(&mut self, chain: &str, hook: NfHook, interface: &str) {
        self.base_chain(chain, hook, interface);
        self.rule(chain, Some(interface), vec![counter(), Statement::Drop(None)]);
    }

    fn rule(&mut self, chain: &str, comment: Option<&str>, expr: Vec<Statement<'static>>) {
        self.batch.add(NfListObject::Rule(Rule {
            family: NfFamily::NetDev,
            table: self.table.to_owned().into(),
            chain: chain.to_owned().into(),
            expr: expr.into(),
            comment: comment.map(|c| Cow::Owned(c.to_owned())),
            ..Rule::default()
        }));
    }

    /// Two chains: the source must be in a prefix, then the destination. What falls out of the end of either
    /// comes back to the base chain, whose last rule counts and drops it.
    fn pair(&mut self, pair: &Pair, prefixes: &[IpNet]) {
        let [from, to] = [format!("{}_source", pair.name), format!("{}_destination", pair.name)];
        self.chain(&to, None); // before the rules that name it
        self.chain(&from, None);
        for prefix in prefixes {
            let mut source = in_prefix(pair.source, prefix);
            source.push(goto(&to));
            self.rule(&from, None, source);
            let mut destination = in_prefix(pair.destination, prefix);
            destination.push(Statement::Accept(None));
            self.rule(&to, None, destination);
        }
    }
}

/// Prefixes by family, with what groups and link-local hosts add. It is a little wider than the allowlist,
/// which knows sources from destinations; this is the second line.
fn prefixes(allow: &Allowlist) -> (Vec<IpNet>, Vec<IpNet>) {
    let mut all = allow.prefixes().to_vec();
    if allow.groups() == GroupPolicy::Keep {
        let more = ["224.0.0.0/4", "255.255.255.255/32", "0.0.0.0/32", "ff00::/8", "::/128", "fe80::/64"];
        all.extend(more.iter().filter_map(|p| p.parse::<IpNet>().ok()));
    }
    all.into_iter().partition(|p| p.addr().is_ipv4())
}

/// Comparisons, at most 32 bits each, of the address at bit `at` of the network header with a prefix. A
/// prefix of length 0 needs none.
fn in_prefix(at: u32, prefix: &IpNet) -> Vec<Statement<'static>> {
    let bits: u128 = match prefix.network() {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let len = u32::from(prefix.prefix_len());
    let parts = (0..len.div_ceil(32)).map(|part| {
        let width = (len - part * 32).min(32);
        let value = (bits << (part * 32)) >> (128 - width);
        matches(network_header(at + part * 32, width), Operator::EQ, value as u32)
    });
    parts.collect()
}

fn network_header(offset: u32, len: u32) -> Expression<'static> {
    let raw = PayloadRaw { base: PayloadBase::NH, offset, len };
    Expression::Named(NamedExpression::Payload(Payload::PayloadRaw(raw)))
}

fn meta(key: MetaKey) -> Expression<'static> {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

fn matches(left: Expression<'static>, op: Operator, right: u32) -> Statement<'static> {
    Statement::Match(Match { left, right: Expression::Number(right), op })
}

fn jump(chain: &str) -> Statement<'static> {
    Statement::Jump(JumpTarget { target: chain.to_owned().into() })
}

fn goto(chain: &str) -> Statement<'static> {
    Statement::Goto(JumpTarget { target: chain.to_owned().into() })
}

fn counter() -> Statement<'static> {
    Statement::Counter(Counter::Anonymous(None))
}

/// A listing without what changes by itself or from one kernel to the next: handles, counts, version of nft.
pub(super) fn without_state(mut listed: Value) -> Value {
    if let Some(objects) = listed["nftables"].as_array_mut() {
        objects.retain(|o| o.get("metainfo").is_none());
        objects.iter_mut().for_each(strip);
    }
    listed
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("handle");
            if let Some(counter) = map.get_mut("counter") {
                *counter = Value::Null;
            }
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

fn rules_of(listed: &Value) -> impl Iterator<Item = &Value> {
    let objects = listed["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    objects.iter().filter_map(|o| o.get("rule"))
}

/// The interfaces that a listed table guards: the comments of its rules.
pub(super) fn guarded_interfaces(listed: &Value) -> Vec<String> {
    rules_of(listed).filter_map(|rule| rule["comment"].as_str().map(str::to_owned)).collect()
}

/// The counters of a listed table.
pub(super) fn blocked(listed: &Value) -> Blocked {
    let mut out = Blocked::default();
    for rule in rules_of(listed) {
        let statements = rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
        let packets: u64 = statements.iter().filter_map(|s| s["counter"]["packets"].as_u64()).sum();
        match rule["chain"].as_str() {
            Some(chain) if chain.contains("in_") => out.ingress += packets,
            Some(_) => out.egress += packets,
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(prefix: &str, at: u32) -> Vec<(u32, u32, u32)> {
        let parts = in_prefix(at, &prefix.parse().unwrap()).into_iter().map(|s| {
            let Statement::Match(Match {
                left: Expression::Named(NamedExpression::Payload(Payload::PayloadRaw(raw))),
                right: Expression::Number(value),
                ..
            }) = s
            else {
                panic!("{s:?}")
            };
            (raw.offset, raw.len, value)
        });
        parts.collect()
    }

    #[test]
    fn prefixes_become_comparisons() {
        assert_eq!(values("10.10.0.0/16", 96), [(96, 16, 0x0a0a)]);
        assert_eq!(values("10.128.0.0/9", 128), [(128, 9, 0x15)]);
        assert_eq!(values("255.255.255.255/32", 0), [(0, 32, u32::MAX)]);
        assert_eq!(values("0.0.0.0/0", 0), []);
        assert_eq!(values("fd00:10:20::/64", 64), [(64, 32, 0xfd00_0010), (96, 32, 0x0020_0000)]);
        assert_eq!(values("fd00:10::/40", 64), [(64, 32, 0xfd00_0010), (96, 8, 0)]);
        assert_eq!(values("::1/128", 0).last(), Some(&(96, 32, 1)));
    }

    #[test]
    fn marks_are_never_zero_and_differ() {
        assert_ne!(mark("netssmd_1_2_3_0"), mark("netssmd_1_2_3_1"));
        assert!((0..1000).all(|i| mark(&i.to_string()) != 0));
    }

    #[test]
    fn listings_compare_without_their_state() {
        let listing = |packets: u64, handle: u64, priority: i64| {
            serde_json::json!({"nftables": [
                {"metainfo": {"version": "1.0.6"}},
                {"chain": {"name": "in_0", "handle": handle, "prio": priority}},
                {"rule": {"chain": "in_0", "handle": handle, "comment": "veth0",
                          "expr": [{"counter": {"packets": packets, "bytes": 1}}, {"drop": null}]}},
                {"rule": {"chain": "out_0", "expr": [{"counter": {"packets": 2, "bytes": 1}}]}}]})
        };
        assert_eq!(without_state(listing(1, 2, -500)), without_state(listing(3, 4, -500)));
        assert_ne!(without_state(listing(1, 2, -500)), without_state(listing(1, 2, 0)));
        assert_eq!(blocked(&listing(7, 1, 0)), Blocked { ingress: 7, egress: 2 });
        assert_eq!(guarded_interfaces(&listing(1, 1, 1)), ["veth0"]);
    }
}
