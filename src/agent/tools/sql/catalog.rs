//! Where each database keeps what it knows of itself. All of these queries return rows of one form:
//! tables `(schema, name, type, comment)`, columns `(schema, table, name, type, nullable, default, comment)`, constraints
//! `(schema, table, words)`, enums `(schema, name, value)`.

use super::dialect::Dialect;

/// The queries.
pub struct Catalog {
    /// By schema and name.
    pub tables: String,
    /// By schema, table and position.
    pub columns: String,
    /// Columns of what may be broken, and then breaks the query: views of SQLite.
    pub doubtful_columns: Option<String>,
    /// By schema and table.
    pub constraints: String,
    /// By schema, name and position; where a database has enums apart from columns.
    pub enums: Option<String>,
}

impl Catalog {
    /// Of these schemas; of the default one without.
    pub fn new(dialect: Dialect, schemas: Option<&[String]>) -> Result<Self, String> {
        let schemas = schemas.filter(|s| !s.is_empty()).map(|s| dialect.literals(s)).transpose()?;
        Ok(match dialect {
            Dialect::Postgres => postgres(&schemas.unwrap_or_else(|| "'public'".to_owned())),
            Dialect::MySql => mysql(&schemas.unwrap_or_else(|| "database()".to_owned())),
            Dialect::Sqlite => sqlite(),
        })
    }
}

fn postgres(schemas: &str) -> Catalog {
    // What the role may not touch is left out, and so are partitions: their parents stand for them.
    let seen = format!(
        "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where n.nspname in ({schemas}) and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
           and has_schema_privilege(n.oid, 'usage')
           and (has_table_privilege(c.oid, 'select, insert, update, delete') or has_any_column_privilege(c.oid, 'select'))"
    );
    Catalog {
        tables: format!(
            "select n.nspname, c.relname,
               case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table' else 'table' end,
               obj_description(c.oid, 'pg_class')
             {seen} order by 1, 2"
        ),
        columns: format!(
            "select t.nspname, t.relname, a.attname, format_type(a.atttypid, a.atttypmod), not a.attnotnull,
               pg_get_expr(d.adbin, d.adrelid), col_description(t.oid, a.attnum)
             from (select n.nspname, c.relname, c.oid {seen}) t
             join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
             left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
             order by 1, 2, a.attnum"
        ),
        doubtful_columns: None,
        constraints: format!(
            "select t.nspname, t.relname, pg_get_constraintdef(k.oid)
             from (select n.nspname, c.relname, c.oid {seen}) t
             join pg_catalog.pg_constraint k on k.conrelid = t.oid and k.contype in ('p', 'u', 'f', 'c', 'x')
             order by 1, 2, position(k.contype::text in 'pufcx'), k.conname"
        ),
        enums: Some(format!(
            "select n.nspname, t.typname, e.enumlabel
             from pg_catalog.pg_enum e join pg_catalog.pg_type t on t.oid = e.enumtypid
             join pg_catalog.pg_namespace n on n.oid = t.typnamespace
             where n.nspname in ({schemas}) order by 1, 2, e.enumsortorder"
        )),
    }
}

fn mysql(schemas: &str) -> Catalog {
    // MariaDB writes NULL for no default.
    Catalog {
        tables: format!(
            "select table_schema, table_name, if(table_type like '%VIEW%', 'view', 'table'), if(table_type like '%VIEW%', null, table_comment)
             from information_schema.tables where table_schema in ({schemas}) order by 1, 2"
        ),
        columns: format!(
            "select table_schema, table_name, column_name, column_type, is_nullable = 'YES', nullif(column_default, 'NULL'), column_comment
             from information_schema.columns where table_schema in ({schemas}) order by 1, 2, ordinal_position"
        ),
        doubtful_columns: None,
        constraints: format!(
            "select k.table_schema, k.table_name, concat(c.constraint_type,
               ' (', group_concat(k.column_name order by k.ordinal_position separator ', '), ')',
               if(max(k.referenced_table_name) is null, '', concat(' REFERENCES ', max(k.referenced_table_name),
               '(', group_concat(k.referenced_column_name order by k.ordinal_position separator ', '), ')')))
             from information_schema.key_column_usage k
             join information_schema.table_constraints c on c.constraint_schema = k.constraint_schema
               and c.constraint_name = k.constraint_name and c.table_schema = k.table_schema and c.table_name = k.table_name
             where k.table_schema in ({schemas})
             group by k.table_schema, k.table_name, c.constraint_type, k.constraint_name
             order by 1, 2, locate(c.constraint_type, 'PRIMARY KEY UNIQUE FOREIGN KEY'), k.constraint_name"
        ),
        enums: None,
    }
}

fn sqlite() -> Catalog {
    // The tables of SQLite itself, and of what replicates it.
    let seen = "m.type in ('table', 'view') and m.name not like 'sqlite\\_%' escape '\\' and m.name not like 'libsql\\_%' escape '\\'
        and m.name not like '\\_litestream\\_%' escape '\\'";
    let columns = |kind: &str| {
        format!(
            "select 'main', m.name, p.name, p.type, p.\"notnull\" = 0 and p.pk = 0, p.dflt_value, null
             from sqlite_schema m join pragma_table_info(m.name) p where m.type = '{kind}' and {seen} order by 2, p.cid"
        )
    };
    Catalog {
        tables: format!("select 'main', m.name, m.type, null from sqlite_schema m where {seen} order by 2"),
        columns: columns("table"),
        doubtful_columns: Some(columns("view")),
        constraints: format!(
            "select 'main', t, words from (
               select m.name as t, 0 as place, 'PRIMARY KEY (' || group_concat(p.name, ', ') || ')' as words
               from sqlite_schema m join pragma_table_info(m.name) p where m.type = 'table' and {seen} and p.pk > 0 group by m.name
               union all
               select m.name, 1, 'UNIQUE (' || group_concat(i.name, ', ') || ')'
               from sqlite_schema m join pragma_index_list(m.name) l join pragma_index_info(l.name) i
               where m.type = 'table' and {seen} and l.\"unique\" = 1 and l.origin <> 'pk' group by m.name, l.name
               union all
               select m.name, 2, 'FOREIGN KEY (' || group_concat(f.\"from\", ', ') || ') REFERENCES ' || f.\"table\"
                 || coalesce('(' || group_concat(f.\"to\", ', ') || ')', '')
               from sqlite_schema m join pragma_foreign_key_list(m.name) f where m.type = 'table' and {seen} group by m.name, f.id
             ) order by 2, place"
        ),
        enums: None,
    }
}
