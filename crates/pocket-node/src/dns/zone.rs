//! Meaning of the cluster's names, after Kubernetes' DNS specification. Pure: a question and the cluster in, an answer out.

use std::net::Ipv4Addr;

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, CNAME, NS, PTR, SOA, SRV},
    },
};

use crate::{
    cluster::{Address, Cluster, Service, Slice, host_label},
    watch::Key,
};

/// Seconds for which answers may be cached. As short as CoreDNS': endpoints change at any time.
const TTL: u32 = 5;

/// Part of the name space that belongs to the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    domain: Name,
    labels: Vec<String>,
    /// Address ranges (address, prefix length) whose reverse names are the cluster's.
    reverse: Vec<(Ipv4Addr, u8)>,
}

/// Action for a question.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Answer from the cluster.
    Answer(Message),
    /// Question about a name outside the cluster.
    Forward,
}

/// Records found for a name.
enum Lookup {
    /// No such name.
    Nothing,
    /// Existing name: records of the wanted type, if any, and additional records.
    Records(Vec<Record>, Vec<Record>),
}

impl Lookup {
    fn records(records: Vec<Record>) -> Self {
        Self::Records(records, Vec::new())
    }

    /// Returns a name that exists, without records of the wanted type.
    fn empty() -> Self {
        Self::records(Vec::new())
    }
}

impl Zone {
    /// Creates the zone of a domain such as `cluster.local`. `None` if it is no domain name.
    pub(crate) fn new(domain: &str, reverse: Vec<(Ipv4Addr, u8)>) -> Option<Self> {
        let mut name = Name::from_ascii(domain).ok()?;
        name.set_fqdn(true);
        let labels = labels(&name);
        (!labels.is_empty()).then_some(Self { domain: name, labels, reverse })
    }

    pub(crate) fn reply(&self, cluster: &Cluster, question: &Message) -> Reply {
        let head = &question.metadata;
        let refuse = |code| Reply::Answer(Message::error_msg(head.id, head.op_code, code));
        if head.op_code != OpCode::Query {
            return refuse(ResponseCode::NotImp);
        }
        let [query] = question.queries.as_slice() else {
            return refuse(ResponseCode::FormErr);
        };
        if query.query_class() != DNSClass::IN {
            return refuse(ResponseCode::NotImp);
        }
        let name = labels(query.name());
        let found = match name.strip_suffix(self.labels.as_slice()) {
            Some(inner) => self.inside(cluster, inner, query),
            None => match reverse_address(&name) {
                Some(ip) => match self.reverse(cluster, ip, query) {
                    Some(found) => found,
                    None => return Reply::Forward,
                },
                None => return Reply::Forward,
            },
        };
        Reply::Answer(self.message(question, query, found))
    }

    fn message(&self, question: &Message, query: &Query, found: Lookup) -> Message {
        let mut message = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        message.metadata.authoritative = true;
        message.metadata.recursion_desired = question.metadata.recursion_desired;
        message.metadata.recursion_available = true;
        message.add_query(query.clone());
        let empty = match found {
            Lookup::Nothing => {
                message.metadata.response_code = ResponseCode::NXDomain;
                true
            }
            Lookup::Records(answers, additionals) => {
                let empty = answers.is_empty();
                message.add_answers(answers);
                message.add_additionals(additionals);
                empty
            }
        };
        if empty {
            // The SOA record says how long to remember that there is nothing.
            message.add_authority(self.soa());
        }
        message
    }

    fn soa(&self) -> Record {
        let under = |label: &str| self.domain.prepend_label(label).unwrap_or_else(|_| self.domain.clone());
        let soa = SOA::new(under("ns.dns"), under("hostmaster"), 1, 7200, 1800, 86_400, TTL);
        Record::from_rdata(self.domain.clone(), TTL, RData::SOA(soa))
    }

    /// Builds a name from labels below the domain.
    fn name(&self, labels: &[&str]) -> Option<Name> {
        let mut name = self.domain.clone();
        for label in labels.iter().rev() {
            name = name.prepend_label(*label).ok()?;
        }
        Some(name)
    }

    /// Resolves a name below the domain, given without the domain.
    fn inside(&self, cluster: &Cluster, name: &[String], query: &Query) -> Lookup {
        let parts: Vec<&str> = name.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [] => match query.query_type() {
                RecordType::SOA => Lookup::records(vec![self.soa()]),
                RecordType::NS => {
                    let server = self.name(&["ns", "dns"]);
                    Lookup::records(server.map(|name| record(query, RData::NS(NS(name)))).into_iter().collect())
                }
                _ => Lookup::empty(),
            },
            ["svc"] | ["pod"] | ["dns"] | ["ns", "dns"] => Lookup::empty(),
            [namespace, "svc"] if !cluster.services_in(namespace).is_empty() => Lookup::empty(),
            [service, namespace, "svc"] => {
                self.with_service(cluster, service, namespace, |service, slices| self.service(service, slices, query))
            }
            [port, protocol, service, namespace, "svc"] if port.starts_with('_') && protocol.starts_with('_') => self
                .with_service(cluster, service, namespace, |service, slices| {
                    self.port(service, slices, &port[1..], &protocol[1..], query)
                }),
            [protocol @ ("_tcp" | "_udp"), service, namespace, "svc"] => {
                self.with_service(cluster, service, namespace, |service, _| {
                    let any =
                        service.ports.iter().any(|port| port.protocol.as_str().eq_ignore_ascii_case(&protocol[1..]));
                    if any { Lookup::empty() } else { Lookup::Nothing }
                })
            }
            [host, service, namespace, "svc"] => self.with_service(cluster, service, namespace, |service, slices| {
                if service.address != Address::Headless {
                    return Lookup::Nothing;
                }
                let ips: Vec<_> = ready(slices).filter(|(label, _)| label == host).map(|(_, ip)| ip).collect();
                if ips.is_empty() { Lookup::Nothing } else { addresses(query, ips) }
            }),
            [dashed, _namespace, "pod"] => match dashed.replace('-', ".").parse() {
                Ok(ip) => addresses(query, vec![ip]),
                Err(_) => Lookup::Nothing,
            },
            _ => Lookup::Nothing,
        }
    }

    fn with_service(
        &self,
        cluster: &Cluster,
        name: &str,
        namespace: &str,
        then: impl FnOnce(&Service, &[std::sync::Arc<Slice>]) -> Lookup,
    ) -> Lookup {
        let key = Key::new(namespace, name);
        match cluster.service(&key) {
            Some(service) => then(&service, &cluster.slices(&key)),
            None => Lookup::Nothing,
        }
    }

    fn service(&self, service: &Service, slices: &[std::sync::Arc<Slice>], query: &Query) -> Lookup {
        match (&service.address, query.query_type()) {
            (Address::External(target), _) => {
                let Ok(mut target) = Name::from_ascii(target) else {
                    return Lookup::empty();
                };
                target.set_fqdn(true);
                Lookup::records(vec![record(query, RData::CNAME(CNAME(target)))])
            }
            (_, RecordType::SRV) => {
                let mut all = (Vec::new(), Vec::new());
                for port in &service.ports {
                    let protocol = port.protocol.as_str().to_ascii_lowercase();
                    if let Lookup::Records(answers, additionals) =
                        self.port(service, slices, &port.name, &protocol, query)
                    {
                        all.0.extend(answers);
                        all.1.extend(additionals);
                    }
                }
                all.1.dedup();
                Lookup::Records(all.0, all.1)
            }
            (Address::Cluster(ip), _) => addresses(query, vec![*ip]),
            (Address::Headless, _) => {
                let mut ips: Vec<_> = ready(slices).map(|(_, ip)| ip).collect();
                ips.sort_unstable();
                ips.dedup();
                if ips.is_empty() {
                    // CoreDNS gives the same answer for a headless Service without endpoints.
                    return Lookup::Nothing;
                }
                // Clients take the first address; rotating the list spreads them.
                let turn = rand::random::<u32>() as usize % ips.len();
                ips.rotate_left(turn);
                addresses(query, ips)
            }
            (Address::None, _) => Lookup::empty(),
        }
    }

    /// Answers `_port._protocol.service…`.
    fn port(
        &self,
        service: &Service,
        slices: &[std::sync::Arc<Slice>],
        port: &str,
        protocol: &str,
        query: &Query,
    ) -> Lookup {
        let matching = service
            .ports
            .iter()
            .find(|candidate| candidate.name == port && candidate.protocol.as_str().eq_ignore_ascii_case(protocol));
        let Some(matching) = matching else {
            return Lookup::Nothing;
        };
        if query.query_type() != RecordType::SRV {
            return Lookup::empty();
        }
        let (namespace, name) = (service.key.namespace.as_str(), service.key.name.as_str());
        let mut answers = Vec::new();
        let mut additionals = Vec::new();
        let mut add = |target: Option<Name>, port: u16, ip: Ipv4Addr| {
            if let Some(target) = target {
                answers.push(record(query, RData::SRV(SRV::new(0, 100, port, target.clone()))));
                additionals.push(Record::from_rdata(target, TTL, RData::A(A(ip))));
            }
        };
        match &service.address {
            Address::Cluster(ip) => add(self.name(&[name, namespace, "svc"]), matching.port, *ip),
            Address::Headless => {
                for slice in slices {
                    let number = slice
                        .ports
                        .iter()
                        .find(|(name, protocol, _)| *name == matching.name && *protocol == matching.protocol)
                        .map(|(_, _, number)| *number);
                    for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
                        let target = self.name(&[&host_label(endpoint), name, namespace, "svc"]);
                        add(target, number.unwrap_or(matching.port), endpoint.ip);
                    }
                }
            }
            _ => {}
        }
        Lookup::Records(answers, additionals)
    }

    /// Answers a reverse name. `None` if the address is not the cluster's.
    fn reverse(&self, cluster: &Cluster, ip: Ipv4Addr, query: &Query) -> Option<Lookup> {
        if let Some((service, host)) = cluster.at_address(ip) {
            let target = match &host {
                Some(host) => self.name(&[host, &service.name, &service.namespace, "svc"]),
                None => self.name(&[&service.name, &service.namespace, "svc"]),
            };
            if query.query_type() != RecordType::PTR {
                return Some(Lookup::empty());
            }
            return Some(Lookup::records(
                target.map(|target| record(query, RData::PTR(PTR(target)))).into_iter().collect(),
            ));
        }
        let ours = self.reverse.iter().any(|(base, prefix)| {
            let shift = 32 - u32::from((*prefix).min(32));
            let cut = |ip: Ipv4Addr| u32::from(ip).checked_shr(shift).unwrap_or(0);
            cut(*base) == cut(ip)
        });
        ours.then_some(Lookup::Nothing)
    }
}

/// Returns the labels of a name, in lower case.
fn labels(name: &Name) -> Vec<String> {
    name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect()
}

/// Returns the address of `d.c.b.a.in-addr.arpa`.
fn reverse_address(name: &[String]) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = name.iter().map(String::as_str).collect();
    let [d, c, b, a, "in-addr", "arpa"] = parts.as_slice() else {
        return None;
    };
    format!("{a}.{b}.{c}.{d}").parse().ok()
}

fn ready(slices: &[std::sync::Arc<Slice>]) -> impl Iterator<Item = (String, Ipv4Addr)> {
    slices
        .iter()
        .flat_map(|slice| &slice.endpoints)
        .filter(|endpoint| endpoint.ready)
        .map(|endpoint| (host_label(endpoint), endpoint.ip))
}

fn addresses(query: &Query, ips: Vec<Ipv4Addr>) -> Lookup {
    match query.query_type() {
        RecordType::A | RecordType::ANY => {
            Lookup::records(ips.into_iter().map(|ip| record(query, RData::A(A(ip)))).collect())
        }
        _ => Lookup::empty(),
    }
}

/// Builds a record for the name that was asked for, in the question's spelling.
fn record(query: &Query, data: RData) -> Record {
    Record::from_rdata(query.name().clone(), TTL, data)
}

#[cfg(test)]
mod tests;
