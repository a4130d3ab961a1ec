//! Describe answers, key for key as recorded ones have them (wire form of API v52 and newer).

use serde_json::{Map, Value, json};

use super::{Field, FieldKind, SObject, Schema};

/// `GET /sobjects`.
pub(crate) fn describe_global(schema: &Schema, version: &str) -> Value {
    let objects: Vec<Value> = schema.objects().map(|o| Value::Object(summary(o, version))).collect();
    json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects})
}

/// The part that the list and the full describe share.
fn summary(object: &SObject, version: &str) -> Map<String, Value> {
    let writable = !object.read_only;
    let path = format!("/services/data/v{version}/sobjects/{}", object.name);
    let custom = object.name.ends_with("__c");
    let flags = json!({
        "activateable": false, "associateEntityType": null, "associateParentEntity": null,
        "createable": writable, "custom": custom, "customSetting": false, "deepCloneable": false,
        "deletable": writable, "deprecatedAndHidden": false, "feedEnabled": false, "hasSubtypes": false,
        "isInterface": false, "isSubtype": false, "keyPrefix": object.key_prefix, "label": object.label,
        "labelPlural": object.label_plural, "layoutable": writable,
        "mergeable": matches!(object.name.as_str(), "Account" | "Contact" | "Lead"), "mruEnabled": writable,
        "name": object.name, "queryable": true, "replicateable": true, "retrieveable": true,
        "searchable": object.searchable(), "triggerable": writable, "undeletable": writable, "updateable": writable,
        "urls": {
            "rowTemplate": format!("{path}/{{ID}}"), "describe": format!("{path}/describe"), "sobject": path,
        },
    });
    match flags {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// `GET /sobjects/T/describe`.
pub(crate) fn describe_object(schema: &Schema, object: &SObject, version: &str) -> Value {
    let mut out = summary(object, version);
    let children: Vec<Value> = schema
        .children(object)
        .map(|(child, field, relationship)| {
            json!({
                "cascadeDelete": false, "childSObject": child.name, "deprecatedAndHidden": false,
                "field": field.name, "junctionIdListNames": [], "junctionReferenceTo": [],
                "relationshipName": relationship, "restrictedDelete": false,
            })
        })
        .collect();
    let fields: Vec<Value> = object.fields.iter().map(field_describe).collect();
    for (key, value) in [
        ("actionOverrides", json!([])),
        ("childRelationships", Value::Array(children)),
        ("compactLayoutable", json!(true)),
        ("defaultImplementation", Value::Null),
        ("extendedBy", Value::Null),
        ("extendsInterfaces", Value::Null),
        ("fields", Value::Array(fields)),
        ("implementedBy", Value::Null),
        ("implementsInterfaces", Value::Null),
        ("listviewable", Value::Null),
        ("lookupLayoutable", Value::Null),
        ("namedLayoutInfos", json!([])),
        ("networkScopeFieldName", Value::Null),
        (
            "recordTypeInfos",
            json!([{
                "active": true, "available": true, "defaultRecordTypeMapping": true, "developerName": "Master",
                "master": true, "name": "Master", "recordTypeId": "012000000000000AAA",
                "urls": {"layout": format!("/services/data/v{version}/sobjects/{}/describe/layouts/012000000000000AAA", object.name)},
            }]),
        ),
        ("searchLayoutable", json!(true)),
        ("supportedScopes", json!([{"label": "All", "name": "everything"}])),
    ] {
        out.insert(key.to_owned(), value);
    }
    Value::Object(out)
}

fn field_describe(field: &Field) -> Value {
    let (type_name, soap_type, length, precision, scale, digits) = sizes(&field.kind);
    let (reference_to, relationship) = match &field.kind {
        FieldKind::Reference { targets, relationship, .. } => (targets.clone(), relationship.clone()),
        _ => (Vec::new(), None),
    };
    let picklist: Vec<Value> = match &field.kind {
        FieldKind::Picklist { values, .. } => values
            .iter()
            .map(|v| {
                let is_default = field.default.as_deref() == Some(v);
                json!({"active": true, "defaultValue": is_default, "label": v, "validFor": null, "value": v})
            })
            .collect(),
        _ => Vec::new(),
    };
    let default_value = match (&field.kind, &field.default) {
        (FieldKind::Boolean, Some(d)) => json!(d == "true"),
        _ => Value::Null,
    };
    let polymorphic = reference_to.len() > 1;
    json!({
        "aggregatable": field.filterable, "aiPredictionField": false, "autoNumber": field.auto_number,
        "byteLength": if field.kind.is_id() { length } else { length * 3 }, "calculated": field.calculated,
        "calculatedFormula": field.formula.as_ref().map(|formula| &formula.text),
        "cascadeDelete": false, "caseSensitive": field.case_sensitive,
        "compoundFieldName": field.compound, "controllerName": null, "createable": field.createable,
        "custom": field.name.ends_with("__c") || field.name.ends_with("__s"), "defaultValue": default_value, "defaultValueFormula": null,
        "defaultedOnCreate": field.default.is_some() || field.kind == FieldKind::Id || (!field.nillable && !field.required),
        "dependentPicklist": false, "deprecatedAndHidden": false, "digits": digits,
        "displayLocationInDecimal": false, "encrypted": type_name == "encryptedstring",
        "externalId": field.external_id,
        "extraTypeInfo": if type_name == "textarea" { json!("plaintextarea") } else { Value::Null },
        "filterable": field.filterable, "filteredLookupInfo": null,
        "formulaTreatNullNumberAsZero": field.formula.as_ref().is_some_and(|formula| formula.blank_as_zero),
        "groupable": field.groupable, "highScaleNumber": false, "htmlFormatted": field.html,
        "idLookup": field.id_lookup || field.external_id, "inlineHelpText": null, "label": field.label,
        "length": length, "mask": null, "maskType": null, "name": field.name, "nameField": field.name_field,
        "namePointing": polymorphic, "nillable": field.nillable,
        "permissionable": field.nillable && field.createable, "picklistValues": picklist,
        "polymorphicForeignKey": polymorphic, "precision": precision, "queryByDistance": false,
        "referenceTargetField": null, "referenceTo": reference_to, "relationshipName": relationship,
        "relationshipOrder": null, "restrictedDelete": false, "restrictedPicklist": field.restricted,
        "scale": scale, "searchPrefilterable": false, "soapType": soap_type, "sortable": field.sortable,
        "type": type_name, "unique": field.unique, "updateable": field.updateable,
        "writeRequiresMasterRead": false,
    })
}

/// Type, SOAP type, length, precision, scale, digits.
pub(super) fn sizes(kind: &FieldKind) -> (&'static str, &'static str, u32, u32, u32, u32) {
    match kind {
        FieldKind::Id => ("id", "tns:ID", 18, 0, 0, 0),
        FieldKind::Reference { .. } => ("reference", "tns:ID", 18, 0, 0, 0),
        FieldKind::Boolean => ("boolean", "xsd:boolean", 0, 0, 0, 0),
        FieldKind::Int { digits } => ("int", "xsd:int", 0, 0, 0, *digits),
        FieldKind::Number { type_name, precision, scale } => (type_name, "xsd:double", 0, *precision, *scale, 0),
        FieldKind::Date => ("date", "xsd:date", 0, 0, 0, 0),
        FieldKind::DateTime => ("datetime", "xsd:dateTime", 0, 0, 0, 0),
        FieldKind::Time => ("time", "xsd:time", 0, 0, 0, 0),
        FieldKind::Text { type_name, length } | FieldKind::Picklist { type_name, length, .. } => {
            (type_name, "xsd:string", *length, 0, 0, 0)
        }
        FieldKind::Address => ("address", "urn:address", 0, 0, 0, 0),
        FieldKind::Location => ("location", "urn:location", 0, 0, 0, 0),
        FieldKind::Base64 => ("base64", "xsd:base64Binary", 0, 0, 0, 0),
    }
}
