//! The columns whose values data keys seal: where a change of data keys looks.
//!
//! Nothing is sealed for a column that is not in the list: its values would be lost with the key that was changed.

/// A sealed column.
pub(crate) struct SealedColumn {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    /// The column that names the owner of the data key.
    pub(crate) owner: &'static str,
    /// The row's key as its values are bound to it, as text, in SQL.
    pub(crate) row: &'static str,
}

pub(crate) const SEALED: [SealedColumn; 6] = [
    SealedColumn { table: "integrations", column: "credentials", owner: "id", row: "CAST(id AS text)" },
    SealedColumn {
        table: "integration_tokens",
        column: "sealed",
        owner: "integration_id",
        row: "CAST(integration_id AS text) || ':' || name",
    },
    SealedColumn { table: "login_attempts", column: "sealed", owner: "integration_id", row: "CAST(id AS text)" },
    SealedColumn { table: "erasure_keys", column: "sealed", owner: "business_id", row: "CAST(business_id AS text)" },
    SealedColumn { table: "alert_channels", column: "setting", owner: "business_id", row: "CAST(id AS text)" },
    SealedColumn { table: "record_webhooks", column: "setting", owner: "business_id", row: "CAST(id AS text)" },
];

pub(crate) fn is_listed(table: &str, column: &str) -> bool {
    SEALED.iter().any(|sealed| sealed.table == table && sealed.column == column)
}
