//! `GET /v1/indicators`: the catalogue.

use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::{CATALOGUE, Domain, Entry, History, MAX_PERIOD, example};
use crate::caching::{Freshness, Known};
use crate::encode::Json;
use crate::params::Params;
use crate::problem::ApiError;

pub(crate) async fn list(uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    Params::read(&uri, &[]).check()?;
    let mut json = Json::default();
    json.open('{');
    json.key("indicators").open('[');
    for entry in CATALOGUE {
        write_entry(&mut json, entry);
    }
    json.close(']');
    json.close('}');
    // The same until another version runs, which another tag tells.
    Ok(Known::of(&headers).answer_with(None, Freshness::Settled, json.into_text()))
}

fn write_entry(json: &mut Json, entry: &Entry) {
    json.open('{');
    json.key("name").string(entry.name);
    json.key("title").string(entry.title);
    json.key("example").string(&example(entry));
    json.key("parameters").open('[');
    for parameter in entry.parameters {
        json.open('{');
        json.key("name").string(parameter.name);
        match parameter.domain {
            Domain::Period { minimum, default } => {
                json.key("type").string("integer");
                match default {
                    Some(default) => json.key("default").literal(default),
                    None => json.key("default").literal("null"),
                }
                json.key("minimum").literal(minimum);
                json.key("maximum").literal(MAX_PERIOD);
            }
            Domain::Factor {
                minimum,
                maximum,
                default,
            } => {
                json.key("type").string("number");
                json.key("default").literal(default);
                json.key("minimum").literal(minimum);
                json.key("maximum").literal(maximum);
            }
        }
        json.close('}');
    }
    json.close(']');
    json.key("outputs").open('[');
    for output in entry.outputs {
        json.string(output);
    }
    json.close(']');
    json.key("formula").string(entry.formula);
    json.key("source").string(entry.source);
    let defaults = entry.defaults();
    json.key("warm_up").open('{');
    json.key("candles").string(entry.warm_up_rule);
    json.key("at_defaults").literal((entry.warm_up)(&defaults));
    json.key("history")
        .string(match (entry.history)(&defaults) {
            History::Window => "window",
            History::First => "all",
            History::Session => "session",
        });
    json.close('}');
    json.close('}');
}
