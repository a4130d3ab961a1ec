//! `composite/graph`: graphs of requests, each of which is one transaction.

use std::collections::{HashMap, HashSet};

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::body::Payload;
use super::super::json_response;
use super::references;
use super::series::{Part, Subrequest, reference_ids, run};
use super::{ROLLED_BACK, halted};
use crate::Shared;
use crate::api_error::ApiError;

const MOST_GRAPHS: usize = 75;
const MOST_NODES: usize = 500;
const MOST_DEPTH: usize = 15;
/// Kinds of nodes in a graph: version, method and type of record.
const MOST_KINDS: usize = 15;
/// After so many failed graphs the rest is not tried.
const MOST_FAILED: usize = 14;

#[derive(Deserialize)]
struct Graphs {
    graphs: Vec<Graph>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Graph {
    graph_id: String,
    composite_request: Vec<Subrequest>,
}

pub(super) async fn graph(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
    payload: Payload,
) -> Response {
    let outer = headers.clone();
    shared
        .series(version, headers, move |series| async move {
            let Graphs { graphs } = payload.typed("composite graph")?;
            check(&graphs)?;
            let (mut told, mut failed) = (Vec::new(), 0);
            for graph in &graphs {
                let parts = if failed >= MOST_FAILED {
                    let halted = halted(ROLLED_BACK);
                    graph.composite_request.iter().map(|r| Part::of_error(&r.reference_id, &halted)).collect()
                } else {
                    // In an order in which nothing is used before it is there, and told in the order of the request.
                    let order = order(&graph.composite_request)?;
                    let requests: Vec<Subrequest> =
                        order.iter().map(|(i, _)| graph.composite_request[*i].clone()).collect();
                    let parts = run(&series, &outer, &requests, true).await?;
                    let mut placed: Vec<(usize, Part)> = order.iter().map(|(i, _)| *i).zip(parts).collect();
                    placed.sort_by_key(|(i, _)| *i);
                    placed.into_iter().map(|(_, part)| part).collect::<Vec<_>>()
                };
                let good = !parts.iter().any(Part::failed);
                failed += usize::from(!good);
                let parts: Vec<Value> = parts.into_iter().map(Part::told).collect();
                told.push(json!({
                    "graphId": graph.graph_id, "graphResponse": {"compositeResponse": parts}, "isSuccessful": good,
                }));
            }
            Ok(json_response(200, json!({"graphs": told}).to_string().into_bytes()))
        })
        .await
}

/// The limits are documented, codes and wording are not.
fn check(graphs: &[Graph]) -> Result<(), ApiError> {
    let exceeded = |message: String| Err(ApiError::bad("LIMIT_EXCEEDED", message));
    if graphs.len() > MOST_GRAPHS {
        return exceeded(format!("A request can have at most {MOST_GRAPHS} graphs"));
    }
    if graphs.iter().map(|g| g.composite_request.len()).sum::<usize>() > MOST_NODES {
        return exceeded(format!("A request can have at most {MOST_NODES} nodes"));
    }
    let mut seen = HashSet::new();
    for Graph { graph_id, composite_request } in graphs {
        if !seen.insert(graph_id) {
            return Err(ApiError::bad("INVALID_REFERENCE_ID", format!("Duplicate graph ID: {graph_id}")));
        }
        reference_ids(composite_request)?;
        let mut kinds = HashSet::new();
        for request in composite_request {
            let Some(kind) = kind(request) else {
                let message = format!("This resource can't be part of a graph: {}", request.url);
                return Err(ApiError::bad("INVALID_REQUEST", message));
            };
            kinds.insert(kind);
        }
        if kinds.len() > MOST_KINDS {
            return exceeded(format!("A graph can have at most {MOST_KINDS} different nodes"));
        }
        if order(composite_request)?.iter().any(|(_, depth)| *depth > MOST_DEPTH) {
            return exceeded(format!("A graph can be at most {MOST_DEPTH} nodes deep"));
        }
    }
    Ok(())
}

/// Version, method and type of a request that may be in a graph: rows by id or external id, and their creation.
fn kind(request: &Subrequest) -> Option<(&str, &str, &str)> {
    let path = request.url.strip_prefix("/services/data/")?.split('?').next()?.trim_end_matches('/');
    let (version, rest) = path.split_once("/sobjects/")?;
    let segments: Vec<&str> = rest.split('/').collect();
    let fits = !version.contains('/')
        && match segments.len() {
            1 => request.method == "POST",
            2 => !["describe", "updated", "deleted"].contains(&segments[1]),
            _ => true,
        };
    fits.then(|| (version, request.method.as_str(), segments[0]))
}

/// The places of the requests in an order in which each comes after those that it refers to, with their depths.
fn order(requests: &[Subrequest]) -> Result<Vec<(usize, usize)>, ApiError> {
    let places: HashMap<&str, usize> = requests.iter().enumerate().map(|(i, r)| (r.reference_id.as_str(), i)).collect();
    let mut needs: Vec<Vec<usize>> = Vec::with_capacity(requests.len());
    for request in requests {
        let mut named = references::named(&request.url);
        named.extend(request.body.iter().flat_map(references::named_in));
        // What names nobody is told when its turn comes.
        needs.push(named.iter().filter_map(|name| places.get(name.as_str()).copied()).collect());
    }
    let mut depths: Vec<Option<usize>> = vec![None; requests.len()];
    let mut order = Vec::with_capacity(requests.len());
    while order.len() < requests.len() {
        let before = order.len();
        for (i, needed) in needs.iter().enumerate() {
            if depths[i].is_none() && needed.iter().all(|n| depths[*n].is_some()) {
                let depth = needed.iter().filter_map(|n| depths[*n]).max().unwrap_or(0) + 1;
                depths[i] = Some(depth);
                order.push((i, depth));
            }
        }
        if order.len() == before {
            return Err(ApiError::bad("INVALID_REFERENCE_ID", "The references of the graph form a circle"));
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, method: &str, url: &str) -> Subrequest {
        serde_json::from_value(json!({"referenceId": id, "method": method, "url": url})).unwrap()
    }

    #[test]
    fn requests_come_after_those_they_refer_to() {
        let rows = "/services/data/v60.0/sobjects/Account";
        let requests = [
            request("c", "PATCH", &format!("{rows}/@{{b.id}}")),
            request("b", "PATCH", &format!("{rows}/@{{a.id}}")),
            request("a", "POST", rows),
        ];
        let places: Vec<_> = order(&requests).unwrap();
        assert_eq!(places, [(2, 1), (1, 2), (0, 3)]);
        let circle = [request("a", "GET", "@{b.id}"), request("b", "GET", "@{a.id}")];
        assert!(order(&circle).is_err());
    }

    #[test]
    fn only_rows_may_be_in_a_graph() {
        let of = |method: &str, url: &str| kind(&request("a", method, url)).is_some();
        assert!(of("POST", "/services/data/v60.0/sobjects/Account/"));
        assert!(of("PATCH", "/services/data/v60.0/sobjects/Account/Ext__c/1"));
        assert!(!of("GET", "/services/data/v60.0/sobjects/Account"));
        assert!(!of("GET", "/services/data/v60.0/sobjects/Account/describe"));
        assert!(!of("GET", "/services/data/v60.0/query?q=SELECT+Id+FROM+Account"));
    }
}
