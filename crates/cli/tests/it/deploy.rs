//! What is deployed to AWS (`deploy/lambda`): templates that linters pass and moto makes, a function that works.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

use crate::broker::{Broker, SECRET};
use crate::moto::Moto;
use crate::org::{Org, PROGRAM};
use crate::parts::part;
use crate::project::with_package_beside;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/lambda")
}

/// Runs a program and answers what it says; all of it where it fails.
fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    out.into_owned()
}

/// A program of the virtual environment, in a home of its own and with nothing of AWS's.
fn program(programs: &Path, name: &str, home: &Path) -> Command {
    let mut command = Command::new(programs.join(name));
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap());
    command.envs([
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "none"),
        ("AWS_SECRET_ACCESS_KEY", "none"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("SAM_CLI_TELEMETRY", "0"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ]);
    command
}

/// A copy of one of the projects, with its modules.
fn project(name: &str, modules: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(source().join(name).join(".")).arg(folder.path());
    said(&mut copy);
    let here = folder.path().join("node_modules");
    let _ = std::fs::remove_dir_all(&here);
    let _ = std::fs::remove_dir_all(folder.path().join("dist"));
    with_package_beside(&here, modules);
    folder
}

/// `npm run …` by the Node that the tests have.
fn npm(folder: &Path, arguments: &[&str]) -> Command {
    let node = PathBuf::from(std::env::var_os("TIELINE_TEST_NODE").unwrap());
    let path = [node.parent().unwrap().to_owned(), folder.join("node_modules/.bin")];
    let system = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths(path.into_iter().chain(std::env::split_paths(&system))).unwrap();
    let mut command = Command::new("npm");
    command.args(["run", "--silent"]).args(arguments).current_dir(folder);
    command.env_clear().env("PATH", path).env("HOME", folder).env("CDK_DISABLE_CLI_TELEMETRY", "1");
    command.envs([("npm_config_update_notifier", "false"), ("npm_config_offline", "true")]);
    command
}

#[test]
fn the_sam_templates_are_clean() {
    let Some(programs) = part("deploy", "TIELINE_TEST_DEPLOY_PROGRAMS") else { return };
    let home = tempfile::tempdir().unwrap();
    let [template, syncs] = ["template", "sync"].map(|name| source().join(format!("sam/{name}.yaml")));
    for template in [&syncs, &template] {
        said(program(&programs, "cfn-lint", home.path()).arg(template));
        let mut sam = program(&programs, "sam", home.path());
        said(sam.args(["validate", "--lint", "--template-file"]).arg(template).current_dir(home.path()));
    }
    // A linter that finds nothing anywhere would pass too.
    let text = std::fs::read_to_string(&template).unwrap();
    let wrong = home.path().join("template.yaml");
    std::fs::write(&wrong, text.replace("VisibilityTimeout:", "VisibilityTimeuot:")).unwrap();
    let found = program(&programs, "cfn-lint", home.path()).arg(&wrong).output().unwrap();
    assert!(!found.status.success() && String::from_utf8_lossy(&found.stdout).contains("VisibilityTimeuot"));
}

#[test]
fn the_stack_is_made_in_moto_and_the_dashboard_shows_every_metric() {
    let Some(programs) = part("deploy", "TIELINE_TEST_DEPLOY_PROGRAMS") else { return };
    let metric = Regex::new(r#"\("([A-Z]\w+)", "(?:Count|Milliseconds|Percent)""#).unwrap();
    let metrics = include_str!("../../../lambda/src/metrics.rs");
    let names: Vec<_> = metric.captures_iter(metrics).map(|found| found[1].to_owned()).collect();
    assert!(names.len() >= 10, "{names:?}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for vpc in [None, Some("vpc")] {
        let Some(moto) = runtime.block_on(Moto::start()) else { return };
        let home = tempfile::tempdir().unwrap();
        let mut create = program(&programs, "python", home.path());
        create.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/deploy/stack.py"));
        create.arg(source().join("sam/template.yaml")).arg(&moto.variables["AWS_ENDPOINT_URL"]).args(vpc);
        let mut create = create.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        create.stdin.take().unwrap().write_all(names.join(" ").as_bytes()).unwrap();
        let Output { status, stdout, stderr } = create.wait_with_output().unwrap();
        assert!(status.success(), "{vpc:?}: {}", String::from_utf8_lossy(&stderr));
        let told: Value = serde_json::from_slice(&stdout).unwrap();
        // What moto lacks altogether: docs say so, and this notices when it changes.
        let lacking: BTreeSet<_> = told["not in moto"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(lacking, ["AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Stage"].into(), "{told}");
        assert!(told["cloudformation"].as_u64().unwrap() >= 20, "{told}");
    }
}

#[test]
fn the_cdk_app_is_synthesised_offline_and_equal_in_content() {
    let Some(modules) = part("deploy", "TIELINE_TEST_DEPLOY_MODULES") else { return };
    let (Some(programs), Some(_)) = (part("deploy", "TIELINE_TEST_DEPLOY_PROGRAMS"), part("node", "TIELINE_TEST_NODE"))
    else {
        return;
    };
    let app = project("cdk", &modules);
    said(&mut npm(app.path(), &["check"]));
    let (layer, code) = (app.path().join("layer.zip"), app.path().join("code"));
    std::fs::create_dir(&code).unwrap();
    let given = |name: &str, path: &Path| format!("{name}={}", path.display());
    let synth = |context: &[String]| {
        let mut command = npm(app.path(), &["synth", "--"]);
        for pair in context {
            command.args(["-c", pair]);
        }
        command
    };
    let context = [given("layer", &layer), given("code", &code)];
    let refused = synth(&context).output().unwrap();
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("cargo xtask dist lambda"), "{error}");
    std::fs::write(&layer, b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").unwrap();
    std::fs::write(code.join("handler.cjs"), "").unwrap();
    said(&mut synth(&context));
    let home = tempfile::tempdir().unwrap();
    for stage in ["dev", "prod"] {
        let template = app.path().join(format!("cdk.out/tieline-{stage}.template.json"));
        said(program(&programs, "cfn-lint", home.path()).arg(&template));
        let template: Value = serde_json::from_slice(&std::fs::read(&template).unwrap()).unwrap();
        let resources = template["Resources"].as_object().unwrap();
        let alarms: Vec<_> = named(resources.values(), "AWS::CloudWatch::Alarm", "AlarmName");
        let of_sam = alarm_names(stage);
        assert_eq!(alarms, of_sam);
        assert_eq!(named(resources.values(), "AWS::KMS::Alias", "AliasName").len(), 2);
        assert_eq!(named(resources.values(), "AWS::SecretsManager::Secret", "Name").len(), 2);
        assert_eq!(named(resources.values(), "AWS::CloudWatch::Dashboard", "DashboardName").len(), 1);
        let table = resources.values().find(|resource| resource["Type"] == "AWS::DynamoDB::Table").unwrap();
        assert_eq!(table["Properties"]["DeletionProtectionEnabled"], stage == "prod");
    }
}

/// The names of one kind of resource, in order.
fn named<'a>(resources: impl Iterator<Item = &'a Value>, kind: &str, name: &str) -> Vec<String> {
    let of_kind = resources.filter(|resource| resource["Type"] == kind);
    let mut names: Vec<_> = of_kind.filter_map(|r| r["Properties"][name].as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

/// Those of the SAM template.
fn alarm_names(stage: &str) -> Vec<String> {
    let text = std::fs::read_to_string(source().join("sam/template.yaml")).unwrap();
    let name = Regex::new(r"AlarmName: !Sub '?tieline-\$\{Stage\}-([a-z-]+)").unwrap();
    let mut names: Vec<_> = name.captures_iter(&text).map(|found| format!("tieline-{stage}-{}", &found[1])).collect();
    names.sort();
    assert_eq!(names.len(), 9);
    names
}

/// Parsed, never planned: there is no Terraform here, and no provider.
#[test]
fn the_terraform_module_can_be_parsed_and_has_the_same_alarms() {
    let Some(programs) = part("deploy", "TIELINE_TEST_DEPLOY_PROGRAMS") else { return };
    let home = tempfile::tempdir().unwrap();
    let folder = source().join("terraform");
    let examples = ["examples/dev", "examples/prod"].map(|name| folder.join(name));
    let mut whole = String::new();
    let mut count = 0;
    for folder in [folder].into_iter().chain(examples) {
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "tf") {
                let parsed = said(program(&programs, "hcl2tojson", home.path()).arg(&file));
                assert!(serde_json::from_str::<Value>(&parsed).unwrap().is_object(), "{}", file.display());
                whole.push_str(&std::fs::read_to_string(&file).unwrap());
                count += 1;
            }
        }
    }
    assert!(count >= 10, "{count}");
    for alarm in alarm_names("x") {
        let name = alarm.strip_prefix("tieline-x-").unwrap();
        assert!(whole.contains(&format!("-{name}\"")) || whole.contains(&format!("{name} = {{")), "{name}");
    }
}

#[test]
fn the_function_is_bundled_and_works_against_a_local_org() {
    let Some(modules) = part("deploy", "TIELINE_TEST_DEPLOY_MODULES") else { return };
    if part("node", "TIELINE_TEST_NODE").is_none() {
        return;
    }
    let function = project("function", &modules);
    said(&mut npm(function.path(), &["check"]));
    said(&mut npm(function.path(), &["build"]));
    let told = said(npm(function.path(), &["test"]).env("TIELINE", PROGRAM));
    assert!(told.contains("pass 7") && told.contains("fail 0"), "{told}");
}

/// The function of docs/lambda.md, its caller and what it prints, as they stand there.
#[test]
fn the_page_about_lambda_does_what_it_says() {
    let Some(modules) = part("deploy", "TIELINE_TEST_DEPLOY_MODULES") else { return };
    let Some(node) = part("node", "TIELINE_TEST_NODE") else { return };
    let page = include_str!("../../../../docs/lambda.md");
    let block = |kind: &str| {
        let rest = page.split_once(&format!("```{kind}\n")).unwrap().1;
        rest.split_once("```").unwrap().0
    };
    let folder = tempfile::tempdir().unwrap();
    with_package_beside(&folder.path().join("node_modules"), &modules);
    std::fs::write(folder.path().join("package.json"), r#"{"type": "module"}"#).unwrap();
    std::fs::write(folder.path().join("handler.ts"), block("ts")).unwrap();
    std::fs::write(folder.path().join("try.mjs"), block("js")).unwrap();
    let mut compiler = Command::new(&node);
    compiler.arg(modules.join("typescript/bin/tsc")).current_dir(folder.path());
    said(
        compiler
            .args(["--noEmit", "--strict", "--module", "nodenext", "--target", "es2023", "--types", "node"])
            .args(["--skipLibCheck", "--preserveSymlinks", "handler.ts"]),
    );

    let org = Org::start(&["--contacts", "3"]);
    let broker = Broker::start(&org.login(), &[]);
    let mut caller = Command::new(node);
    caller.arg("try.mjs").current_dir(folder.path()).env_clear();
    caller.env("TIELINE_BROKER_TOKEN", SECRET).env("TIELINE_BROKER_PORT", broker.port.to_string());
    let Output { status, stdout, stderr } = caller.output().unwrap();
    let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{err}");
    let printed = page.split_once("node try.mjs\n```\n\n```text\n").unwrap().1.split_once("```").unwrap().0;
    for line in printed.lines() {
        assert!(out.contains(line) || err.contains(line), "{line}: {out} {err}");
    }
    let ledger = org.ledger();
    assert_eq!((&ledger["logins"], &ledger["records_written"]), (&1.into(), &1.into()), "{ledger}");
}
