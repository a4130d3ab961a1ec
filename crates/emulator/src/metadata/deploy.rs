//! A deploy: a job that checks every component and, unless it is only a check or one of them fails, changes the org.

use jiff::Timestamp;

use super::package::{self, Manifest, Package};
use super::types::{CUSTOM_FIELD, CUSTOM_OBJECT, TYPES, Type};
use super::xml::{Node, element, element_raw};
use super::{Component, Components, apply, check, fields, type_named};
use crate::clock::datetime;
use crate::org::Org;

#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) check_only: bool,
    pub(crate) ignore_warnings: bool,
    /// Nothing is changed if one component fails. Always so in production; here unless a client says otherwise.
    pub(crate) rollback_on_error: bool,
    pub(crate) single_package: bool,
}

impl Options {
    pub(crate) fn read(node: &Node) -> Self {
        Options {
            check_only: node.flag("checkOnly"),
            ignore_warnings: node.flag("ignoreWarnings"),
            rollback_on_error: node.flag_or("rollbackOnError", true),
            single_package: node.flag("singlePackage"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Status {
    Pending,
    InProgress,
    Succeeded,
    SucceededPartial,
    Failed,
    Canceled,
}

/// One line of the result.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) type_name: String,
    pub(crate) full_name: String,
    pub(crate) file: String,
    pub(crate) id: Option<String>,
    pub(crate) created: bool,
    pub(crate) deleted: bool,
    pub(crate) problem: Option<String>,
}

pub(crate) struct Deploy {
    pub(crate) id: String,
    pub(crate) options: Options,
    pub(crate) status: Status,
    pub(crate) by: String,
    pub(crate) started: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) messages: Vec<Message>,
    zip: Vec<u8>,
}

impl Deploy {
    pub(crate) fn done(&self) -> bool {
        !matches!(self.status, Status::Pending | Status::InProgress)
    }

    pub(crate) fn count(&self, failed: bool) -> usize {
        self.messages.iter().filter(|m| m.problem.is_some() == failed && !m.type_name.is_empty()).count()
    }
}

impl Org {
    /// Takes a zip file in; what comes of it is asked for later.
    pub(crate) fn start_deploy(&mut self, zip: Vec<u8>, options: Options, user_id: &str) -> String {
        let id = self.new_id("0Af");
        self.ledger.deploys += 1;
        let deploy = Deploy {
            id: id.clone(),
            options,
            status: Status::Pending,
            by: user_id.to_owned(),
            started: self.now(),
            ended: None,
            messages: Vec::new(),
            zip,
        };
        self.metadata.deploys.insert(id.clone(), deploy);
        id
    }

    pub(crate) fn deploy(&self, id: &str) -> Option<&Deploy> {
        self.metadata.deploys.get(&crate::id::normalise(id)?)
    }

    pub(crate) fn cancel_deploy(&mut self, id: &str) -> Result<(), &'static str> {
        let now = self.now();
        let deploy =
            crate::id::normalise(id).and_then(|id| self.metadata.deploys.get_mut(&id)).ok_or("Invalid deploy ID")?;
        if deploy.done() {
            return Err("Deployment already completed");
        }
        (deploy.status, deploy.ended) = (Status::Canceled, Some(now));
        Ok(())
    }

    /// Runs the deploys whose time has come.
    pub(crate) fn settle_deploys(&mut self) {
        let (now, time) = (self.now(), self.metadata.behaviour.deploy_time);
        let mut due: Vec<String> = Vec::new();
        for deploy in self.metadata.deploys.values_mut().filter(|deploy| !deploy.done()) {
            if now.duration_since(deploy.started) >= time {
                due.push(deploy.id.clone());
            } else {
                deploy.status = Status::InProgress;
            }
        }
        due.sort();
        for id in due {
            let Some(deploy) = self.metadata.deploys.get_mut(&id) else { continue };
            let (zip, options, by) = (std::mem::take(&mut deploy.zip), deploy.options.clone(), deploy.by.clone());
            let (status, messages) = run(self, &zip, &options, &by);
            if let Some(deploy) = self.metadata.deploys.get_mut(&id) {
                (deploy.status, deploy.messages, deploy.ended) = (status, messages, Some(now));
            }
        }
    }
}

/// What one run has come to.
struct Run<'a> {
    org: &'a Org,
    there: Components,
    prefix: String,
    by: &'a str,
    messages: Vec<Message>,
    changed: Vec<super::Key>,
}

fn run(org: &mut Org, zip: &[u8], options: &Options, by: &str) -> (Status, Vec<Message>) {
    let package = match Package::read(zip) {
        Ok(package) => package,
        Err(problem) => {
            let file = "package.xml".to_owned();
            let message = Message {
                type_name: String::new(),
                full_name: file.clone(),
                file,
                id: None,
                created: false,
                deleted: false,
                problem: Some(problem),
            };
            return (Status::Failed, vec![message]);
        }
    };
    let there = org.metadata.components.clone();
    let prefix = package.root.clone();
    let mut run = Run { org, there, prefix, by, messages: Vec::new(), changed: Vec::new() };
    run.package(&package);
    let Run { there, mut messages, changed, .. } = run;
    let failed = messages.iter().any(|m| m.problem.is_some());
    let manifest = Message {
        type_name: String::new(),
        full_name: "package.xml".to_owned(),
        file: format!("{}package.xml", package.root),
        id: None,
        created: false,
        deleted: false,
        problem: None,
    };
    messages.push(manifest);
    let any = messages.iter().any(|m| m.problem.is_none() && !m.type_name.is_empty());
    let status = match (failed, options.rollback_on_error || !any) {
        (true, true) => return (Status::Failed, messages),
        (true, false) => Status::SucceededPartial,
        (false, _) => Status::Succeeded,
    };
    if !options.check_only {
        org.metadata.components = there;
        if let Err(error) = apply::apply(org, &changed, by) {
            tracing::error!(?error, "a deployed component could not be applied");
        }
        for message in &mut messages {
            let key = type_named(&message.type_name).map(|t| (t.name, message.full_name.clone()));
            message.id = key.and_then(|key| org.metadata.components.get(&key)).map(|component| component.id.clone());
        }
    }
    (status, messages)
}

impl Run<'_> {
    fn package(&mut self, package: &Package) {
        let mut named: Vec<String> = Vec::new();
        for (type_name, members) in &package.manifest {
            match type_named(type_name) {
                None => self.fail(
                    type_name,
                    "package.xml",
                    format!("Unknown type name '{type_name}' specified in package.xml"),
                ),
                Some(of) => named.extend(members.iter().filter(|m| *m != "*").map(|m| of.path(m))),
            }
        }
        for of in &TYPES {
            let members: Vec<String> = match package.manifest.iter().find(|(name, _)| name == of.name) {
                None => Vec::new(),
                Some((_, members)) if members.iter().any(|m| m == "*") => of.names(package),
                Some((_, members)) => members.clone(),
            };
            let members = if of.name == CUSTOM_FIELD { self.fields(members, package) } else { members };
            for name in members {
                named.push(of.path(&name));
                self.component(of, &name, package);
            }
        }
        for file in package.files.keys().filter(|f| !f.ends_with("-meta.xml") && !named.contains(f)) {
            self.fail("", file, "The file is in the zip file, and package.xml does not name it".to_owned());
        }
        self.destroy(&package.destructive);
    }

    /// The fields that the manifest names, and those in the files of the objects that it names.
    fn fields(&self, mut named: Vec<String>, package: &Package) -> Vec<String> {
        for (type_name, objects) in &package.manifest {
            for object in objects.iter().filter(|_| type_name == CUSTOM_OBJECT) {
                let file = package.files.get(&format!("objects/{object}.object"));
                let all = file.map_or_else(Vec::new, |file| fields::names(object, file));
                named.extend(all.into_iter().filter(|field| !named.contains(field)).collect::<Vec<_>>());
            }
        }
        named
    }

    fn component(&mut self, of: &'static Type, name: &str, package: &Package) {
        let path = of.path(name);
        let file = if of.meta_file { format!("{path}-meta.xml") } else { path.clone() };
        let missing = || {
            let of = of.name;
            format!("An object '{name}' of type {of} was named in package.xml, but was not found in zipped directory")
        };
        let Some(content) = package.files.get(&file) else {
            return self.fail_as(of.name, name, "package.xml", missing());
        };
        let whole = |body: Node| match of.name {
            CUSTOM_FIELD => fields::out_of(&body, name).ok_or_else(missing),
            _ => Ok(body),
        };
        let checked = Node::parse(content)
            .map_err(|e| format!("Error parsing file: {e}"))
            .and_then(whole)
            .and_then(|body| check::check(self.org, &self.there, of, name, &body).map(|()| body));
        let body = match checked {
            Ok(body) => body,
            Err(problem) => return self.fail_as(of.name, name, &path, problem),
        };
        let key = (of.name, name.to_owned());
        let now = self.org.now();
        let before = self.there.get(&key);
        let created = before.is_none();
        let body = apply::complete(of.name, body, before.map(|component| &component.body));
        let content = of.meta_file.then(|| package.files.get(&path).cloned()).flatten();
        let component = Component {
            id: before.map_or_else(String::new, |component| component.id.clone()),
            body,
            content,
            created: before.map_or(now, |component| component.created),
            modified: now,
            by: self.by.to_owned(),
        };
        self.there.insert(key.clone(), component);
        self.changed.push(key);
        self.say(of.name, name, &path, created, false, None);
    }

    fn destroy(&mut self, manifest: &Manifest) {
        for (type_name, members) in manifest {
            let Some(of) = type_named(type_name) else {
                self.fail(
                    type_name,
                    "destructiveChanges.xml",
                    format!("Unknown type name '{type_name}' specified in package.xml"),
                );
                continue;
            };
            for name in members {
                let key = (of.name, name.clone());
                if self.there.remove(&key).is_some() {
                    self.changed.push(key);
                    self.say(of.name, name, "destructiveChanges.xml", false, true, None);
                } else {
                    // A warning at a real org, which lets the rest go on.
                    self.say(of.name, name, "destructiveChanges.xml", false, false, None);
                }
            }
        }
    }

    fn fail(&mut self, type_name: &str, file: &str, problem: String) {
        self.fail_as(type_name, file, file, problem);
    }

    fn fail_as(&mut self, type_name: &str, full_name: &str, file: &str, problem: String) {
        self.say(type_name, full_name, file, false, false, Some(problem));
    }

    fn say(
        &mut self,
        type_name: &str,
        full_name: &str,
        file: &str,
        created: bool,
        deleted: bool,
        problem: Option<String>,
    ) {
        self.messages.push(Message {
            type_name: type_name.to_owned(),
            full_name: full_name.to_owned(),
            file: format!("{}{file}", self.prefix),
            id: None,
            created,
            deleted,
            problem,
        });
    }
}

impl Type {
    /// The components of this type that the package holds.
    fn names(&self, package: &Package) -> Vec<String> {
        if self.name == CUSTOM_FIELD {
            let object = |path: &str| Some(path.strip_prefix("objects/")?.strip_suffix(".object")?.to_owned());
            let files = package.files.iter().filter_map(|(path, file)| Some((object(path)?, file)));
            return files.flat_map(|(object, file)| fields::names(&object, file)).collect();
        }
        let name = |path: &String| {
            let rest = path.strip_prefix(self.folder)?.strip_prefix('/')?;
            Some(rest.strip_suffix(self.suffix)?.strip_suffix('.')?.to_owned())
        };
        package.files.keys().filter_map(name).collect()
    }
}

/// Creates, changes or deletes components one by one, as `createMetadata` and its siblings do. Answers a problem for each.
pub(crate) fn directly(
    org: &mut Org,
    of: &'static Type,
    parts: Vec<(String, Option<Node>)>,
    by: &str,
) -> Vec<Option<String>> {
    let mut answers = Vec::new();
    for (name, node) in parts {
        let mut files = std::collections::BTreeMap::new();
        let mut manifest = Manifest::new();
        if let Some(node) = &node {
            let mut body = node.clone();
            body.children.retain(|child| child.name != "fullName" && !(of.meta_file && child.name == "content"));
            let path = of.path(&name);
            let file = match of.name {
                CUSTOM_FIELD => fields::into_object(&name, body).file(CUSTOM_OBJECT),
                _ => body.file(&of.root(&name)),
            };
            files.insert(if of.meta_file { format!("{path}-meta.xml") } else { path }, file);
            manifest.push((of.name.to_owned(), vec![name.clone()]));
        } else if !org.metadata.components.contains_key(&(of.name, name.clone())) {
            answers.push(Some(format!("no {} named {name} found", of.name)));
            continue;
        } else {
            let list = element_raw("types", &(element("members", &name) + &element("name", of.name)));
            files.insert("destructiveChanges.xml".to_owned(), format!("<Package>{list}</Package>").into_bytes());
        }
        let options = Options { rollback_on_error: true, ..Options::default() };
        let problem = match package::write(&files, &manifest, "67.0") {
            Ok(zip) => run(org, &zip, &options, by).1.into_iter().find_map(|message| message.problem),
            Err(error) => Some(error.to_string()),
        };
        answers.push(problem);
    }
    answers
}

impl Deploy {
    /// As the time of a result is written.
    pub(crate) fn times(&self) -> (String, Option<String>) {
        (datetime(self.started).replace("+0000", "Z"), self.ended.map(|at| datetime(at).replace("+0000", "Z")))
    }
}
