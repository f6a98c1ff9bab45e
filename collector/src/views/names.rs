//! Interned names: services, and the databases, queues and hosts they talk to. Rows and edges refer to them by a
//! small number, so that counting a span of a known name allocates nothing.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// More names than this share the overflow names, one for services and one for the rest.
const MAX_SERVICES: usize = 1_000;
const MAX_PEERS: usize = 1_000;
/// Longer names are cut (at a character), so that the count of names bounds their memory.
pub(crate) const MAX_NAME_BYTES: usize = 512;
/// Takes the spans of services beyond the cap.
pub(crate) const OTHER_SERVICES: &str = "(other services)";
/// Takes the calls to peers beyond the cap.
pub(crate) const OTHER_PEERS: &str = "(other peers)";

/// A name's number; valid until [`Names::retain`] drops the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NameId(u32);

/// What a node of the map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Service,
    Database,
    Queue,
    External,
}

/// A name in use.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) text: Arc<str>,
    pub(crate) kind: NodeKind,
    /// What it was taken for until it turned out to be a service's, and in which slot that was.
    was: Option<(NodeKind, u32)>,
    /// The newest slot it was used in.
    pub(crate) last_slot: u32,
}

/// All names in use.
#[derive(Debug, Default)]
pub(crate) struct Names {
    names: Vec<Option<Name>>,
    free: Vec<u32>,
    table: HashTable<u32>,
    hasher: RandomState,
    services: usize,
}

impl NodeKind {
    /// As the map's JSON says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Database => "database",
            Self::Queue => "queue",
            Self::External => "external",
        }
    }
}

impl Name {
    /// What it was taken for in a slot: a series that has shown the calls of that slot must not lose them.
    pub(crate) fn kind_in(&self, slot: u32) -> NodeKind {
        let was = self.was.filter(|&(_, until)| slot <= until);
        was.map_or(self.kind, |(kind, _)| kind)
    }
}

impl Names {
    /// The number of a name, made when new. A name that a service bears is a service's, whatever its callers take it
    /// for.
    pub(crate) fn intern(&mut self, text: &str, kind: NodeKind, slot: u32) -> NameId {
        let text = cut(text);
        if let Some(id) = self.find(text) {
            self.seen(id, kind, slot);
            return id;
        }
        let (full, other) = match kind {
            NodeKind::Service => (self.services >= MAX_SERVICES, OTHER_SERVICES),
            _ => (self.table.len() - self.services >= MAX_PEERS, OTHER_PEERS),
        };
        let text = if full { other } else { text };
        if let Some(id) = self.find(text) {
            self.seen(id, kind, slot);
            return id;
        }
        self.insert(text, kind, slot)
    }

    /// The number of a name in use.
    pub(crate) fn find(&self, text: &str) -> Option<NameId> {
        let hash = self.hasher.hash_one(text);
        let same = |&id: &u32| self.get(NameId(id)).is_some_and(|name| *name.text == *text);
        self.table.find(hash, same).copied().map(NameId)
    }

    /// The name of a number.
    pub(crate) fn get(&self, id: NameId) -> Option<&Name> {
        self.names.get(id.0 as usize)?.as_ref()
    }

    /// Notes that a name is in use.
    pub(crate) fn touch(&mut self, id: NameId, slot: u32) {
        if let Some(Some(name)) = self.names.get_mut(id.0 as usize) {
            name.last_slot = name.last_slot.max(slot);
        }
    }

    /// Drops the names last used before `oldest`; nothing may refer to them any more.
    pub(crate) fn retain(&mut self, oldest: u32) {
        let Self {
            names,
            free,
            table,
            services,
            ..
        } = self;
        table.retain(|id| {
            let Some(entry) = names.get_mut(*id as usize) else {
                return false;
            };
            let keep = entry.as_ref().is_some_and(|name| name.last_slot >= oldest);
            if !keep {
                *services -= usize::from(is_service(entry.take().as_ref()));
                free.push(*id);
            }
            keep
        });
    }

    fn seen(&mut self, id: NameId, kind: NodeKind, slot: u32) {
        self.touch(id, slot);
        if kind == NodeKind::Service
            && let Some(Some(name)) = self.names.get_mut(id.0 as usize)
            && name.kind != NodeKind::Service
        {
            name.was = Some((name.kind, slot));
            name.kind = kind;
            self.services += 1;
        }
    }

    fn insert(&mut self, text: &str, kind: NodeKind, slot: u32) -> NameId {
        let name = Name {
            text: text.into(),
            kind,
            was: None,
            last_slot: slot,
        };
        self.services += usize::from(kind == NodeKind::Service);
        let id = self.free.pop().unwrap_or(self.names.len() as u32);
        match self.names.get_mut(id as usize) {
            Some(free) => *free = Some(name),
            None => self.names.push(Some(name)),
        }
        let Self {
            names,
            table,
            hasher,
            ..
        } = self;
        let rehash = |id: &u32| {
            let name = names.get(*id as usize).and_then(Option::as_ref);
            hasher.hash_one(name.map_or("", |name| &*name.text))
        };
        table.insert_unique(hasher.hash_one(text), id, rehash);
        NameId(id)
    }
}

/// A name no longer than [`MAX_NAME_BYTES`].
pub(crate) fn cut(text: &str) -> &str {
    if text.len() <= MAX_NAME_BYTES {
        return text;
    }
    let end = (0..=MAX_NAME_BYTES)
        .rev()
        .find(|&at| text.is_char_boundary(at));
    text.get(..end.unwrap_or(0)).unwrap_or("")
}

fn is_service(name: Option<&Name>) -> bool {
    name.is_some_and(|name| name.kind == NodeKind::Service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_until_it_is_dropped() {
        let mut names = Names::default();
        let cart = names.intern("cart", NodeKind::Service, 1);
        let mail = names.intern("mail", NodeKind::External, 5);
        assert_eq!(names.intern("cart", NodeKind::External, 2), cart);
        assert_eq!(names.get(cart).unwrap().kind, NodeKind::Service);
        names.retain(3);
        assert!(names.get(cart).is_none() && names.find("cart").is_none());
        assert_eq!(names.find("mail"), Some(mail));
        assert_eq!(
            names.intern("new", NodeKind::Service, 6),
            cart,
            "its number is used again"
        );
    }

    #[test]
    fn a_peer_that_turns_out_to_be_a_service_is_one() {
        let mut names = Names::default();
        let id = names.intern("cart", NodeKind::External, 1);
        assert_eq!(names.intern("cart", NodeKind::Service, 1), id);
        assert_eq!(names.get(id).unwrap().kind, NodeKind::Service);
    }

    #[test]
    fn names_beyond_the_caps_share_one() {
        let mut names = Names::default();
        for n in 0..MAX_SERVICES + 50 {
            names.intern(&format!("service-{n}"), NodeKind::Service, 1);
            names.intern(&format!("peer-{n}"), NodeKind::External, 1);
        }
        assert_eq!(names.table.len(), MAX_SERVICES + MAX_PEERS + 2);
        let id = names.intern("one-more", NodeKind::Service, 1);
        assert_eq!(&*names.get(id).unwrap().text, OTHER_SERVICES);
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        assert_eq!(cut(&"é".repeat(400)).len(), MAX_NAME_BYTES);
        assert_eq!(
            cut(&format!("a{}", "é".repeat(400))).len(),
            MAX_NAME_BYTES - 1
        );
    }
}
