//! What the doctor of the views found, in words: why edges around a service are missing. A section of the page of a
//! service.

use maud::{Markup, html};

use super::format::{count, counted};
use super::layout::service_link;
use super::query::PageQuery;
use crate::views::report::Finding;

/// Findings shown; the API has all.
const SHOWN: usize = 6;

/// The section; nothing without findings.
pub(super) fn section(findings: &[Finding], query: &PageQuery) -> Markup {
    // That a service calls nobody is no fault as such: it is said, but does not shout.
    let is_note = |finding: &Finding| matches!(finding, Finding::NoClientSpans { .. });
    let serious = findings.iter().any(|finding| !is_note(finding));
    html! {
        @if !findings.is_empty() {
            section #doctor {
                h2 { "Why calls may be missing here" }
                ul.findings.note[!serious] {
                    @for finding in findings.iter().take(SHOWN) {
                        li data-key=(title(finding)) {
                            b { (title(finding)) ". " }
                            (evidence(finding, query))
                            span.advice { (advice(finding)) }
                        }
                    }
                }
                @if findings.len() > SHOWN {
                    p.muted { (counted((findings.len() - SHOWN) as u64, "smaller finding")) " not shown; the JSON API tells all." }
                }
            }
        }
    }
}

fn title(finding: &Finding) -> &'static str {
    match finding {
        Finding::PropagationBroken { .. } => "The trace does not arrive",
        Finding::CallsWithoutClientSpan { .. } => "Calls without a client span",
        Finding::SamplingMismatch { .. } => "Both sides keep different traces",
        Finding::NameMismatch { .. } => "No service of that name",
        Finding::Nameless { .. } => "Calls that name nobody",
        Finding::ServerElsewhere { .. } => "The called service's spans do not come here",
        Finding::CallersElsewhere { .. } => "The callers' spans do not come here",
        Finding::NoClientSpans { .. } => "It makes no client spans",
        Finding::CutShort { .. } => "More calls under way than there is room for",
    }
}

/// The numbers.
fn evidence(finding: &Finding, query: &PageQuery) -> Markup {
    let service = |name: &str| service_link(name, query);
    match finding {
        Finding::PropagationBroken {
            client,
            server,
            called_as,
            calls,
            roots,
            strangers,
        } => html! {
            (counted(*calls, "call")) " from " (service(client)) " to " (service(server))
            @if called_as != server { " (which it calls " code { (called_as) } ")" }
            " have no server span, while "
            @if roots > &0 { (counted(*roots, "server span")) " of " (service(server)) " begin traces of their own" }
            @if roots > &0 && strangers > &0 { " and " }
            @if strangers > &0 { (counted(*strangers, "server span")) " of it name a parent that never came" }
            "."
        },
        Finding::CallsWithoutClientSpan {
            client,
            server,
            traces,
            looked_at,
        } => html! {
            "In " (count(*traces)) " of " (counted(*looked_at, "kept trace")) " a span of " (service(server))
            " stands directly below a span of " (service(client)) " that is no client span: the call is made, but nothing "
            "measures it on the caller's side."
        },
        Finding::SamplingMismatch {
            client,
            server,
            paired,
            unpaired,
        } => html! {
            "Of " (counted(paired + unpaired, "call")) " from " (service(client)) " to " (service(server)) ", "
            (count(*unpaired)) " have no server span though they did not fail."
        },
        Finding::NameMismatch {
            client,
            called_as,
            nearest,
            calls,
        } => html! {
            (counted(*calls, "call")) " from " (service(client)) " name " code { (called_as) }
            ", and no service is called that. The nearest name is " (service(nearest)) "."
        },
        Finding::Nameless { client, calls } => html! {
            (counted(*calls, "call")) " from " (service(client)) " do not say whom they call, and no server span came."
        },
        Finding::ServerElsewhere {
            client,
            called_as,
            calls,
            told,
        } => html! {
            (service(client)) " called " code { (called_as) } " " (counted(*calls, "time")) " and no span of it came"
            @if told > &0 { ", yet in " (count(*told)) " of its answers it told its own time: it is there." }
            @else { ". Its name looks like one of your own network." }
        },
        Finding::CallersElsewhere {
            server,
            alone,
            paired,
        } => html! {
            (counted(*alone, "server span")) " of " (service(server)) " name a caller's span that never came; "
            (counted(*paired, "other")) " have theirs."
        },
        Finding::NoClientSpans { spans, .. } => html! {
            "None of its " (counted(*spans, "span")) " is a client span, so no edge leads out of it."
        },
        Finding::CutShort { calls } => html! {
            (counted(*calls, "call")) " since the start could not wait for their other half; some calls above may be among them."
        },
    }
}

/// What to do.
fn advice(finding: &Finding) -> &'static str {
    match finding {
        Finding::PropagationBroken { .. } => {
            "See whether the caller sends the traceparent header, and whether the server, or a proxy before it, takes it over."
        }
        Finding::CallsWithoutClientSpan { .. } => {
            "Instrument the caller's HTTP or gRPC client, or give its span the kind CLIENT."
        }
        Finding::SamplingMismatch { .. } => {
            "Let the called service decide as its caller did (a parent-based sampler), and see whether it loses spans."
        }
        Finding::NameMismatch { .. } => {
            "If that is the one, see whether it gets the traceparent header; else the called service sends no spans here."
        }
        Finding::Nameless { .. } => {
            "Let the client set server.address or peer.service on its spans."
        }
        Finding::ServerElsewhere { .. } => {
            "It makes no spans, keeps other traces, or sends them to another collector: both halves of a call have to come to the same one."
        }
        Finding::CallersElsewhere { .. } => {
            "The callers make no spans, keep other traces, or send them to another collector; or a proxy between them puts a parent of its own."
        }
        Finding::NoClientSpans { .. } => {
            "That is right for a service that calls nobody; else its HTTP or database client is not instrumented."
        }
        Finding::CutShort { .. } => "Give the collector more memory (--memory-limit).",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixtures;
    use crate::web::testing::Page;

    fn show(findings: &[Finding]) -> Page {
        let section = section(findings, &PageQuery::default());
        Page::parse(&html! { main { (section) } }.into_string())
    }

    fn broken(roots: u64, strangers: u64) -> Finding {
        Finding::PropagationBroken {
            client: "gateway".to_owned(),
            server: "stock".to_owned(),
            called_as: "stock:8080".to_owned(),
            calls: 1_200,
            roots,
            strangers,
        }
    }

    #[test]
    fn evidence_and_advice_stand_beside_each_other() {
        let text = show(&[broken(1_100, 0)]).text();
        let want = "1,200 calls from gateway to stock (which it calls stock:8080) have no server span, while \
                    1,100 server spans of stock begin traces of their own.";
        assert!(text.contains(want), "{text}");
        assert!(text.contains("traceparent"), "{text}");
        let text = show(&[broken(0, 7)]).text();
        assert!(
            text.contains("while 7 server spans of it name a parent that never came."),
            "{text}"
        );
    }

    #[test]
    fn a_service_that_calls_nobody_gets_a_note() {
        let note = Finding::NoClientSpans {
            client: "stock".to_owned(),
            spans: 40,
        };
        assert_eq!(show(std::slice::from_ref(&note)).class("note").count(), 1);
        assert_eq!(show(&[note, broken(5, 0)]).class("note").count(), 0);
        assert_eq!(show(&[]).count("section"), 0);
    }

    #[test]
    fn a_hostile_name_stays_text_and_many_findings_are_counted() {
        let nameless = |calls| Finding::NameMismatch {
            client: fixtures::HOSTILE.to_owned(),
            called_as: fixtures::HOSTILE.to_owned(),
            nearest: fixtures::HOSTILE.to_owned(),
            calls,
        };
        let page = show(&(0..9).map(nameless).collect::<Vec<_>>());
        assert_eq!(page.count("script"), 0);
        assert_eq!(page.count("li"), SHOWN);
        assert!(page.text().contains("3 smaller findings not shown"));
    }
}
