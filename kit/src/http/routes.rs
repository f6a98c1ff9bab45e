//! Routes seen so far, with the span names made of them: built once, then shared by every request.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use hashbrown::HashMap;

use super::method::KnownMethod;
use crate::log::{RouteField, RouteText};
use crate::metrics::RouteSeries;
use crate::trace::SpanName;

/// A matched route (`/users/{id}`) and what is derived from it.
#[derive(Debug)]
pub(super) struct Route {
    path: Arc<str>,
    field: RouteField,
    span_names: [OnceLock<Arc<str>>; KnownMethod::COUNT],
    series: RouteSeries,
}

impl Route {
    fn new(path: &str) -> Self {
        Self {
            path: Arc::from(path),
            field: RouteField::new(path),
            span_names: Default::default(),
            series: RouteSeries::default(),
        }
    }

    pub(super) fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// As closing lines have it.
    pub(super) fn text(&self) -> RouteText<'_> {
        RouteText {
            path: &self.path,
            field: Some(&self.field),
        }
    }

    pub(super) fn series(&self) -> &RouteSeries {
        &self.series
    }

    /// `{method} {route}`.
    pub(super) fn span_name(&self, method: KnownMethod) -> SpanName {
        let make = || Arc::from(format!("{} {}", method.span_name(), self.path));
        match self.span_names.get(method as usize) {
            Some(name) => SpanName::Shared(Arc::clone(name.get_or_init(make))),
            None => SpanName::Shared(make()),
        }
    }
}

type Table = HashMap<Arc<str>, Arc<Route>, foldhash::fast::RandomState>;

/// The routes seen so far; looking one up takes no lock and allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    table: ArcSwap<Table>,
}

impl Routes {
    /// Beyond this many (a route hook that returns raw paths) a route lives as long as its request.
    const MAX: usize = 1_000;

    pub(super) fn get(&self, path: &str) -> Arc<Route> {
        if let Some(route) = self.table.load().get(path) {
            return Arc::clone(route);
        }
        let new = Arc::new(Route::new(path));
        self.table.rcu(|table| {
            if table.len() >= Self::MAX || table.contains_key(path) {
                return Arc::clone(table);
            }
            let mut grown = Table::clone(table);
            grown.insert(Arc::clone(&new.path), Arc::clone(&new));
            Arc::new(grown)
        });
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::SharedText;

    fn text(name: SpanName) -> Arc<str> {
        match name {
            SharedText::Shared(name) => name,
            other => panic!("{other:?} is not shared"),
        }
    }

    #[test]
    fn routes_and_names_are_made_once() {
        let routes = Routes::default();
        let route = routes.get("/users/{id}");
        assert_eq!(&**route.path(), "/users/{id}");
        assert!(Arc::ptr_eq(&route, &routes.get("/users/{id}")));
        let name = text(route.span_name(KnownMethod::Get));
        assert_eq!(&*name, "GET /users/{id}");
        assert!(Arc::ptr_eq(&name, &text(route.span_name(KnownMethod::Get))));
        assert_eq!(
            &*text(route.span_name(KnownMethod::Other)),
            "HTTP /users/{id}"
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let routes = Routes::default();
        for i in 0..Routes::MAX + 50 {
            assert_eq!(&**routes.get(&format!("/{i}")).path(), format!("/{i}"));
        }
        assert_eq!(routes.table.load().len(), Routes::MAX);
    }
}
