//! What of a trace its page shows, and how its address says so: which rows are folded, what is looked for, from which
//! row on, whose details are open. Called by the page.

use std::collections::HashSet;

use crate::web::query::{BadParameter, PageQuery};
use crate::web::timeline::Row;

/// Rows on one page: more than anybody reads, and what a browser draws within a second.
pub(super) const MAX_ROWS: usize = 2_000;
/// Rows that are folded, or not, one by one.
const MAX_FOLDS: usize = 200;
/// Everything that can be folded is.
const ALL: &str = "all";
/// Longer texts are cut where they are told.
const LONGEST_TOLD: usize = 60;

/// What the address asks for.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    query: &'a PageQuery,
    path: String,
    fold: Fold<'a>,
    /// Lower case.
    find: Option<String>,
    first: usize,
    /// The span whose details are open.
    pub(super) open: Option<&'a str>,
}

#[derive(Debug)]
enum Fold<'a> {
    These(Vec<&'a str>),
    AllBut(Vec<&'a str>),
}

/// The rows that the page shows.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) rows: Vec<ShownRow<'a>>,
    /// Of all that are not folded away, the number of the first one.
    pub(super) first: usize,
    /// How many are not folded away.
    pub(super) unfolded: usize,
    /// How many match, folded away or not; `None` when nothing is looked for.
    pub(super) hits: Option<usize>,
    /// The first one that matches, and its number.
    pub(super) first_hit: Option<(&'a str, usize)>,
}

/// A row of the page.
#[derive(Debug)]
pub(super) struct ShownRow<'a> {
    pub(super) row: &'a Row<'a>,
    /// Rows below it.
    pub(super) below: usize,
    pub(super) folded: bool,
    pub(super) hit: Option<Hit>,
}

/// Where a row has what is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    /// In what the row says anyway.
    Name,
    /// In its details: this one.
    Detail(String),
}

impl<'a> Asked<'a> {
    /// # Errors
    /// A row number that is none; too many rows to fold one by one.
    pub(super) fn read(query: &'a PageQuery, path: String) -> Result<Self, BadParameter> {
        let fold = match query.get("fold") {
            Some(ALL) => Fold::AllBut(ids(query, "unfold")?),
            _ => Fold::These(ids(query, "fold")?),
        };
        let find = query.get("find").map(str::to_lowercase);
        let first = query.number("first", 1, 1_000_000, "say a whole number from 1 on")?;
        Ok(Self {
            query,
            path,
            fold,
            find,
            first: first - 1,
            open: query.get("span"),
        })
    }

    /// Chooses the rows.
    pub(super) fn choose(&self, rows: &'a [Row<'a>]) -> Shown<'a> {
        let below = below(rows);
        let hits: Vec<_> = rows.iter().map(|row| self.hit(row)).collect();
        let mut shown = Shown {
            rows: Vec::new(),
            first: self.first,
            unfolded: 0,
            hits: None,
            first_hit: None,
        };
        if self.find.is_some() {
            shown.hits = Some(hits.iter().flatten().count());
        }
        let mut at = 0;
        while let (Some(row), Some(&below)) = (rows.get(at), below.get(at)) {
            let inside = hits.get(at + 1..=at + below).unwrap_or_default();
            // What is looked for is never folded away.
            let folded = below > 0
                && self.is_folded(&row.span.span_id)
                && inside.iter().all(Option::is_none);
            let hit = hits.get(at).cloned().flatten();
            if hit.is_some() && shown.first_hit.is_none() {
                shown.first_hit = Some((&row.span.span_id, shown.unfolded));
            }
            if shown.unfolded >= self.first && shown.rows.len() < MAX_ROWS {
                shown.rows.push(ShownRow {
                    row,
                    below,
                    folded,
                    hit,
                });
            }
            shown.unfolded += 1;
            at += if folded { below + 1 } else { 1 };
        }
        shown
    }

    /// The address with one row folded or unfolded.
    pub(super) fn toggled(&self, id: &str) -> String {
        let toggle = |ids: &[&str]| {
            let mut ids: Vec<&str> = ids.to_vec();
            match ids.iter().position(|other| *other == id) {
                Some(at) => drop(ids.remove(at)),
                None => ids.push(id),
            }
            // The first ones give way: there is always a next click.
            let from = ids.len().saturating_sub(MAX_FOLDS);
            ids.get(from..).unwrap_or_default().join(",")
        };
        let filled = |ids: String| Some(ids).filter(|ids| !ids.is_empty());
        let (fold, unfold) = match &self.fold {
            Fold::These(ids) => (filled(toggle(ids)), None),
            Fold::AllBut(ids) => (Some(ALL.to_owned()), filled(toggle(ids))),
        };
        self.link(&[("fold", fold.as_deref()), ("unfold", unfold.as_deref())])
    }

    /// The address with every row folded, or none.
    pub(super) fn all_folded(&self, folded: bool) -> String {
        self.link(&[
            ("fold", folded.then_some(ALL)),
            ("unfold", None),
            ("first", None),
        ])
    }

    /// The address with the rows from a number on, counted from 0.
    pub(super) fn at_row(&self, number: usize) -> String {
        let first = (number > 0).then(|| (number + 1).to_string());
        self.link(&[("first", first.as_deref())])
    }

    /// The address with a span's details open.
    pub(super) fn opened(&self, id: &str) -> String {
        format!("{}#span-{id}", self.link(&[("span", Some(id))]))
    }

    /// The address with the details of no span in particular.
    fn link(&self, changes: &[(&str, Option<&str>)]) -> String {
        let closed = [("span", None)];
        let known = changes.iter().any(|(name, _)| *name == "span");
        let closed = if known { &[][..] } else { &closed[..] };
        self.query.link(&self.path, &[changes, closed].concat())
    }

    /// What is looked for, as it was typed.
    pub(super) fn find(&self) -> Option<&str> {
        self.query.get("find")
    }

    /// What else than `find` the form has to hand on.
    pub(super) fn kept(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let names = ["fold", "unfold"].into_iter();
        names.filter_map(|name| Some((name, self.query.get(name)?)))
    }

    fn is_folded(&self, id: &str) -> bool {
        match &self.fold {
            Fold::These(ids) => ids.contains(&id),
            Fold::AllBut(ids) => !ids.contains(&id),
        }
    }

    fn hit(&self, row: &Row<'_>) -> Option<Hit> {
        let needle = self.find.as_deref()?;
        let has = |text: &str| text.to_lowercase().contains(needle);
        let span = row.span;
        let target = row.target.as_deref().unwrap_or_default();
        if has(&span.service) || has(&span.operation) || has(target) {
            return Some(Hit::Name);
        }
        if has(&span.status_message) {
            return Some(Hit::Detail(cut(&span.status_message)));
        }
        if span.span_id == needle {
            return Some(Hit::Name);
        }
        let event = span.events.iter().find(|event| has(&event.name));
        if let Some(event) = event {
            return Some(Hit::Detail(cut(&event.name)));
        }
        let of_events = span.events.iter().flat_map(|event| &event.attributes);
        let attributes = span
            .attributes
            .iter()
            .chain(&span.resource)
            .chain(of_events);
        attributes
            .map(|(key, value)| (key, super::details::text(value)))
            .find(|(key, value)| has(key) || has(value))
            .map(|(key, value)| Hit::Detail(cut(&format!("{key}: {value}"))))
    }
}

fn cut(text: &str) -> String {
    crate::web::format::shorten(text, LONGEST_TOLD)
}

fn ids<'a>(query: &'a PageQuery, name: &'static str) -> Result<Vec<&'a str>, BadParameter> {
    let text = query.get(name).unwrap_or_default();
    let ids: Vec<&str> = text.split(',').filter(|id| !id.is_empty()).collect();
    let is_id = |id: &&str| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if ids.len() > MAX_FOLDS || !ids.iter().all(is_id) {
        let allowed = "say all, or up to 200 span ids of 16 hex digits with commas between them";
        return Err(query.bad(name, allowed));
    }
    let mut known = HashSet::new();
    Ok(ids.into_iter().filter(|id| known.insert(*id)).collect())
}

/// How many rows stand below each one: those that follow and are deeper.
fn below(rows: &[Row<'_>]) -> Vec<usize> {
    let mut below = vec![0; rows.len()];
    let mut above: Vec<usize> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        while above
            .last()
            .and_then(|&last| rows.get(last))
            .is_some_and(|last| last.span.depth >= row.span.depth)
        {
            above.pop();
        }
        for &ancestor in &above {
            if let Some(below) = below.get_mut(ancestor) {
                *below += 1;
            }
        }
        above.push(at);
    }
    below
}
