//! `GET /openapi.json`: the API as OpenAPI 3.1 describes it. The description is kept by hand in `openapi.json`; the tests
//! here and every answer that the API's other tests get are held against it, and so are those that schemathesis finds
//! (`tests/tests/it/openapi.rs`).

use axum::http::header;
use axum::response::{IntoResponse, Response};

const OPENAPI: &str = include_str!("openapi.json");

pub(super) async fn serve() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use axum::http::StatusCode;
    use serde_json::{Value, json};

    use super::OPENAPI;
    use crate::web::api::tests::ask;

    /// What to do when a test here fails.
    const HOW: &str = "collector/src/web/api/openapi.json describes every path, parameter, answer and field of the API: \
                       add what is new there, beside what is like it";

    fn described() -> Value {
        serde_json::from_str(OPENAPI).unwrap()
    }

    /// Panics unless an answer is as it is described.
    pub(in crate::web::api) fn check(path: &str, status: StatusCode, body: &Value) {
        let all = described();
        let path = path.split('?').next().unwrap_or_default();
        let Some(template) = all["paths"]
            .as_object()
            .unwrap()
            .keys()
            .find(|t| fits(t, path))
        else {
            assert_eq!(
                status,
                StatusCode::NOT_FOUND,
                "{path} is not described. {HOW}"
            );
            return validate(
                &all,
                &json!({"$ref": "#/components/schemas/Error"}),
                path,
                body,
            );
        };
        let answer = &all["paths"][template]["get"]["responses"][status.as_str()];
        let answer = resolved(&all, answer);
        let schema = &answer["content"]["application/json"]["schema"];
        assert!(
            schema.is_object(),
            "{template} is not described to answer with {status}. {HOW}"
        );
        validate(&all, schema, path, body);
    }

    fn validate(all: &Value, schema: &Value, path: &str, body: &Value) {
        let mut schema = schema.clone();
        schema["components"] = all["components"].clone();
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        let validator = options.build(&schema).unwrap();
        let faults: Vec<_> = validator
            .iter_errors(body)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(
            faults.is_empty(),
            "{path} is not as described: {faults:#?} {HOW}"
        );
    }

    fn fits(template: &str, path: &str) -> bool {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template
                .zip(path)
                .all(|(wanted, got)| wanted.starts_with('{') || wanted == got)
    }

    fn resolved<'a>(all: &'a Value, value: &'a Value) -> &'a Value {
        let reference = value["$ref"].as_str().and_then(|to| to.strip_prefix('#'));
        reference.map_or(value, |to| all.pointer(to).unwrap_or(&Value::Null))
    }

    fn each(value: &Value, look: &mut dyn FnMut(&Value)) {
        look(value);
        match value {
            Value::Object(members) => members.values().for_each(|value| each(value, look)),
            Value::Array(items) => items.iter().for_each(|value| each(value, look)),
            _ => {}
        }
    }

    #[test]
    fn the_routes_are_those_described() {
        let source = include_str!("../api.rs");
        let routes = source
            .split(".route(")
            .skip(1)
            .filter_map(|rest| rest.split('"').nth(1));
        let routes: BTreeSet<_> = routes.filter(|path| path.starts_with("/api/v1/")).collect();
        let all = described();
        let described = all["paths"].as_object().unwrap().keys().map(String::as_str);
        assert_eq!(routes, described.collect(), "{HOW}");
    }

    #[tokio::test]
    async fn the_parameters_are_those_described() {
        let all = described();
        for (template, methods) in all["paths"].as_object().unwrap() {
            let path = template
                .replace("{name}", "ca%20rt")
                .replace("{trace_id}", super::super::tests::TRACE);
            assert!(
                !path.contains('{'),
                "this test knows no value for {template}: give it one"
            );
            let (_, body) = ask(&format!("{path}?no_such=1")).await;
            let message = body["error"]["message"].as_str().unwrap();
            let (_, allowed) = message.split_once("is not known; ").unwrap();
            let allowed = allowed.trim_end_matches(" allowed here");
            let allowed = allowed.trim_end_matches(" are").trim_end_matches("none is");
            let allowed: BTreeSet<_> = allowed
                .split(", ")
                .filter(|name| !name.is_empty())
                .collect();
            let parameters = methods["get"]["parameters"]
                .as_array()
                .into_iter()
                .flatten();
            let described = parameters
                .map(|parameter| resolved(&all, parameter))
                .filter(|parameter| parameter["in"] == "query")
                .filter_map(|parameter| parameter["name"].as_str());
            assert_eq!(allowed, described.collect(), "{template}. {HOW}");
        }
    }

    #[test]
    fn the_description_holds_together() {
        let all = described();
        assert_eq!(all["info"]["version"], env!("CARGO_PKG_VERSION"));
        each(&all, &mut |value| {
            if let Some(to) = value["$ref"].as_str() {
                assert!(!resolved(&all, value).is_null(), "{to} is nowhere");
            }
            if value["properties"].is_object() && value["type"] == "object" {
                let shut = value["additionalProperties"] == false;
                assert!(shut, "an undescribed field would not be noticed: {value}");
            }
        });
    }

    #[tokio::test]
    async fn it_is_served() {
        assert_eq!(ask("/openapi.json").await, (StatusCode::OK, described()));
    }
}
