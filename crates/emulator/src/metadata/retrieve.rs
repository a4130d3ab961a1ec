//! A retrieve: a zip file of the components that were asked for.

use std::collections::BTreeMap;

use super::check::NO_SECRETS;
use super::package::{self, Manifest};
use super::types::{CUSTOM_FIELD, CUSTOM_OBJECT, GLOBAL_OAUTH, Type};
use super::xml::Node;
use super::{Component, fields, type_named};
use crate::org::Org;

pub(crate) struct Retrieve {
    pub(crate) zip: Vec<u8>,
    /// File and full name of what is in it, with type.
    pub(crate) files: Vec<(&'static Type, String)>,
    /// What could not be had.
    pub(crate) problems: Vec<String>,
}

impl Org {
    /// Puts the components together that `unpackaged` names; answers the job's id.
    pub(crate) fn start_retrieve(&mut self, wanted: &Node) -> Result<String, String> {
        let manifest = wanted.child("unpackaged").map(package::manifest_of).unwrap_or_default();
        let version = Some(wanted.get("apiVersion")).filter(|v| !v.is_empty()).unwrap_or("67.0").to_owned();
        let (mut files, mut there, mut told) = (BTreeMap::new(), Vec::new(), Manifest::new());
        let mut problems = Vec::new();
        // An object and its fields share a file.
        let mut objects: BTreeMap<String, Node> = BTreeMap::new();
        for (type_name, members) in manifest {
            let Some(of) = type_named(&type_name) else {
                problems.push(format!("Unknown type name '{type_name}' specified in package.xml"));
                continue;
            };
            let members = if members.iter().any(|m| m == "*") { self.component_names(of) } else { members };
            let mut found = Vec::new();
            for name in members {
                match self.component(of, &name) {
                    None => problems.push(format!("Entity of type '{type_name}' named '{name}' cannot be found")),
                    Some(Err(problem)) => problems.push(problem),
                    Some(Ok(component)) => {
                        let path = of.path(&name);
                        let part = match of.name {
                            CUSTOM_FIELD => Some(fields::into_object(&name, component.body.clone())),
                            CUSTOM_OBJECT => Some(component.body.clone()),
                            _ => None,
                        };
                        if let Some(part) = part {
                            objects.entry(path).or_default().children.extend(part.children);
                            there.push((of, name.clone()));
                            found.push(name);
                            continue;
                        }
                        let body = component.body.file(&of.root(&name));
                        if let Some(content) = &component.content {
                            files.insert(path.clone(), content.clone());
                        }
                        files.insert(if of.meta_file { format!("{path}-meta.xml") } else { path }, body);
                        there.push((of, name.clone()));
                        found.push(name);
                    }
                }
            }
            told.push((type_name, found));
        }
        files.extend(objects.into_iter().map(|(path, object)| (path, object.file(CUSTOM_OBJECT))));
        let single = wanted.flag_or("singlePackage", true);
        if !single {
            files = files.into_iter().map(|(name, content)| (format!("unpackaged/{name}"), content)).collect();
        }
        let zip = package::write(&files, &told, &version).map_err(|e| e.to_string())?;
        let id = self.new_id("09S");
        self.metadata.retrieves.insert(id.clone(), Retrieve { zip, files: there, problems });
        Ok(id)
    }

    pub(crate) fn retrieve(&self, id: &str) -> Option<&Retrieve> {
        self.metadata.retrieves.get(&crate::id::normalise(id)?)
    }

    pub(crate) fn component_names(&self, of: &Type) -> Vec<String> {
        self.metadata.components.keys().filter(|(kind, _)| *kind == of.name).map(|(_, name)| name.clone()).collect()
    }

    /// The component as clients may see it. Secrets are withheld: those of a connected app always, those of an external
    /// client app unless the org's setting allows it.
    pub(crate) fn component(&self, of: &Type, name: &str) -> Option<Result<Component, String>> {
        let mut component = self.metadata.components.get(&(of.name, name.to_owned()))?.clone();
        if of.name == GLOBAL_OAUTH {
            if !self.setting("ExternalClientApp", "enableConsumerSecretApiAccess") {
                return Some(Err(format!("{NO_SECRETS}: {name}")));
            }
            if !self.metadata.behaviour.tells_consumer_keys {
                component.body.children.retain(|child| !child.name.starts_with("consumer"));
            }
        }
        if let Some(oauth) = component.body.children.iter_mut().find(|child| child.name == "oauthConfig") {
            oauth.children.retain(|child| child.name != "consumerSecret");
        }
        Some(Ok(component))
    }
}
