//! Routes seen so far, with the span names made of them: built once, then shared by every request.

use std::hash::BuildHasher;
use std::iter;
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;

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

/// The routes seen so far; looking one up takes no lock and allocates nothing.
#[derive(Debug)]
pub(crate) struct Routes {
    /// Each route is at the place that its hash says, or at one of the next ones. None is ever taken away.
    places: Vec<OnceLock<Arc<Route>>>,
    hashes: RandomState,
}

impl Routes {
    /// Many more than services have routes.
    const PLACES: usize = 1_024;

    /// Where these are taken (a route hook that returns raw paths) a route lives as long as its request.
    const TRIED: usize = 16;

    pub(super) fn get(&self, path: &str) -> Arc<Route> {
        let new = || Arc::new(Route::new(path));
        let first = self.hashes.hash_one(path) as usize;
        for next in 0..Self::TRIED {
            let place = first.wrapping_add(next) % Self::PLACES;
            if let Some(place) = self.places.get(place) {
                let route = place.get_or_init(new);
                if *route.path == *path {
                    return Arc::clone(route);
                }
            }
        }
        new()
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            places: iter::repeat_with(OnceLock::new)
                .take(Self::PLACES)
                .collect(),
            hashes: RandomState::default(),
        }
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
        let known = routes.get("/known");
        for i in 0..10 * Routes::PLACES {
            assert_eq!(&**routes.get(&format!("/{i}")).path(), format!("/{i}"));
        }
        assert!(routes.places.iter().all(|place| place.get().is_some()));
        let new = routes.get("/new");
        assert_eq!(&**new.path(), "/new");
        assert!(!Arc::ptr_eq(&new, &routes.get("/new")));
        assert!(Arc::ptr_eq(&known, &routes.get("/known")));
    }
}
