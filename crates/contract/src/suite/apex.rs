//! The org's own code, and actions.

use serde_json::json;
use tieline_client::{Method, Request};

use super::{documented, memory};
use crate::answer::has_keys;
use crate::case::encoded;
use crate::expectation::{Area, Check, Expectation, Need, same};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Apex, name, source, check)
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("an Apex path that no class serves is 404 NOT_FOUND", memory("3.9"), |case| {
            Box::pin(async move {
                let request = Request::new(Method::GET, "/services/apexrest/tieline-contract");
                let answer = case.send(request).await?.refused(404, "NOT_FOUND")?;
                answer.says("Could not find a match for URL").done()
            })
        }),
        on("code that compiles and runs says so", documented("3.9"), |case| {
            Box::pin(async move {
                let code = encoded("System.debug('tieline-contract');");
                let done =
                    case.get(&format!("tooling/executeAnonymous/?anonymousBody={code}")).await?.is(200)?.json()?;
                let keys = ["line", "column", "compiled", "success", "compileProblem", "exceptionMessage"];
                has_keys(&done, &keys)?;
                same("compiled", &done["compiled"], &json!(true))?;
                same("success", &done["success"], &json!(true))?;
                Ok("compiled".to_owned())
            })
        })
        .needs(Need::Write),
        on("code that does not compile is 200 too, and says where", documented("3.9"), |case| {
            Box::pin(async move {
                let code = encoded("tieline contract;");
                let done =
                    case.get(&format!("tooling/executeAnonymous/?anonymousBody={code}")).await?.is(200)?.json()?;
                same("compiled", &done["compiled"], &json!(false))?;
                same("success", &done["success"], &json!(false))?;
                same("a problem", done["compileProblem"].is_string(), true)?;
                Ok("not compiled".to_owned())
            })
        })
        .needs(Need::Write),
    ]
}
