//! The declarations of tables and databases: [`table!`](crate::table) and [`database!`](crate::database).
//!
//! One declaration of a table gives its struct, the conversions to and from rows, its schema and its reference page.
//! The form of a column is
//!
//! | written | schema | Rust |
//! | --- | --- | --- |
//! | `string`, `string(..=63)` | a string, of a limited length | `Arc<str>` |
//! | `one_of("a", "b")` | a string of an enumeration | `Arc<str>` |
//! | `integer`, `integer(1..=255)`, `integer(1000..)` | an integer, in a range | `i64` |
//! | `real`, `boolean`, `uuid` | these | [`Real`](crate::Real), `bool`, [`Uuid`](crate::Uuid) |
//! | `strong(Table)`, `weak(Table)` | a reference | [`Uuid`](crate::Uuid) |
//! | `optional(X)` | none or one of the above | `Option<X>` |
//! | `set(X)`, `nonempty_set(X)` | any number, or at least one | `Vec<X>` |
//! | `map(K => V)` | pairs | `BTreeMap<K, V>` |
//!
//! and behind it may stand `ephemeral` or `immutable`. A column whose name is a word of Rust's is written as a raw
//! identifier (`r#type`).

/// Declares a table: see [the module](crate::table_macro).
///
/// Expands to the struct, a struct `Columns` of typed column handles (one table a module, therefore), and the
/// implementation of [`TableDefinition`](crate::typed::TableDefinition).
#[macro_export]
macro_rules! table {
    (
        $(#[doc = $table_doc:literal])*
        pub struct $table:ident = $name:literal {
            root: $root:literal,
            $(max_rows: $max_rows:literal,)?
            $(indexes: [$(($($index:ident),+)),+],)?
            columns {$(
                $(#[doc = $doc:literal])*
                $column:ident : $kind:ident $(($($argument:tt)*))? $($flag:ident)?,
            )*}
        }
    ) => {
        $(#[doc = $table_doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $table {
            /// The row's identity.
            pub uuid: $crate::Uuid,
            $(
                $(#[doc = $doc])*
                pub $column: $crate::table!(@rust $kind $(($($argument)*))?),
            )*
        }

        #[doc = concat!("The columns of [`", stringify!($table), "`].")]
        #[derive(Clone, Copy, Debug)]
        pub struct Columns {$(
            $(#[doc = $doc])*
            pub $column: $crate::typed::Column<$crate::table!(@rust $kind $(($($argument)*))?)>,
        )*}

        impl $table {
            /// The columns, to read or write one at a time.
            pub const COLUMN: Columns = {
                const NAMES: &[&str] = &[$($crate::typed::build::column_name(stringify!($column))),*];
                Columns {$(
                    $column: {
                        const NAME: &str = $crate::typed::build::column_name(stringify!($column));
                        $crate::typed::Column::new($crate::typed::build::rank(NAMES, NAME), NAME)
                    },
                )*}
            };
        }

        impl $crate::typed::TableDefinition for $table {
            const NAME: &'static str = $name;
            const DOC: &'static str = $crate::table!(@doc $($table_doc)*);
            const COLUMN_DOCS: &'static [(&'static str, &'static str)] = &[$((
                $crate::typed::build::column_name(stringify!($column)),
                $crate::table!(@doc $($doc)*),
            )),*];

            fn table_schema() -> $crate::schema::TableSchema {
                const MAX_ROWS: &[usize] = &[$($max_rows)?];
                const INDEXES: &[&[&str]] =
                    &[$($(&[$($crate::typed::build::column_name(stringify!($index))),+]),+)?];
                $crate::typed::build::table_schema(
                    $name,
                    $root,
                    MAX_ROWS.first().copied(),
                    vec![$($crate::typed::build::column(
                        Self::COLUMN.$column.name,
                        $crate::table!(@column $kind $(($($argument)*))?),
                        &[$(stringify!($flag))?],
                    )),*],
                    INDEXES,
                )
            }

            fn from_row(uuid: $crate::Uuid, row: &$crate::Row) -> Self {
                Self {
                    uuid,
                    $($column: Self::COLUMN.$column.get(row),)*
                }
            }

            fn to_row(&self) -> $crate::Row {
                const COUNT: usize = [$(stringify!($column)),*].len();
                let mut columns = vec![$crate::Datum::empty_set(); COUNT];
                $(
                    columns[Self::COLUMN.$column.index] =
                        $crate::typed::ColumnValue::to_datum(&self.$column);
                )*
                $crate::Row::new(columns)
            }
        }
    };

    // Lines of documentation as one text.
    (@doc $($line:literal)*) => {
        const { $crate::typed::build::doc(concat!("", $($line, "\n"),*)) }
    };

    // The Rust type of a column.
    (@rust optional($kind:ident $(($($argument:tt)*))?)) => {
        Option<$crate::table!(@rust $kind $(($($argument)*))?)>
    };
    (@rust set($kind:ident $(($($argument:tt)*))?)) => {
        Vec<$crate::table!(@rust $kind $(($($argument)*))?)>
    };
    (@rust nonempty_set($kind:ident $(($($argument:tt)*))?)) => {
        Vec<$crate::table!(@rust $kind $(($($argument)*))?)>
    };
    (@rust map($key:ident $(($($k:tt)*))? => $value:ident $(($($v:tt)*))?)) => {
        ::std::collections::BTreeMap<
            $crate::table!(@rust $key $(($($k)*))?),
            $crate::table!(@rust $value $(($($v)*))?),
        >
    };
    (@rust string $(($($range:tt)*))?) => { ::std::sync::Arc<str> };
    (@rust one_of($($value:literal),+ $(,)?)) => { ::std::sync::Arc<str> };
    (@rust integer $(($($range:tt)*))?) => { i64 };
    (@rust real) => { $crate::Real };
    (@rust boolean) => { bool };
    (@rust uuid) => { $crate::Uuid };
    (@rust strong($target:ident)) => { $crate::Uuid };
    (@rust weak($target:ident)) => { $crate::Uuid };

    // The schema type of a column.
    (@column optional($($inner:tt)*)) => {
        $crate::typed::build::column_type($crate::table!(@base $($inner)*), None, 0, 1)
    };
    (@column set($($inner:tt)*)) => {
        $crate::typed::build::column_type($crate::table!(@base $($inner)*), None, 0, usize::MAX)
    };
    (@column nonempty_set($($inner:tt)*)) => {
        $crate::typed::build::column_type($crate::table!(@base $($inner)*), None, 1, usize::MAX)
    };
    (@column map($key:ident $(($($k:tt)*))? => $value:ident $(($($v:tt)*))?)) => {
        $crate::typed::build::column_type(
            $crate::table!(@base $key $(($($k)*))?),
            Some($crate::table!(@base $value $(($($v)*))?)),
            0,
            usize::MAX,
        )
    };
    (@column $($base:tt)*) => {
        $crate::typed::build::column_type($crate::table!(@base $($base)*), None, 1, 1)
    };

    // The schema type of an atom.
    (@base string) => { $crate::schema::BaseType::plain($crate::AtomicType::String) };
    (@base string(..=$max:literal)) => {
        $crate::typed::build::limited(
            $crate::AtomicType::String,
            $crate::schema::Constraint::Length { min: 0, max: $max },
        )
    };
    (@base one_of($($value:literal),+ $(,)?)) => { $crate::typed::build::one_of(&[$($value),+]) };
    (@base integer) => { $crate::schema::BaseType::plain($crate::AtomicType::Integer) };
    (@base integer($min:literal..=$max:literal)) => {
        $crate::typed::build::limited(
            $crate::AtomicType::Integer,
            $crate::schema::Constraint::Integer { min: $min, max: $max },
        )
    };
    (@base integer($min:literal..)) => {
        $crate::typed::build::limited(
            $crate::AtomicType::Integer,
            $crate::schema::Constraint::Integer { min: $min, max: i64::MAX },
        )
    };
    (@base real) => { $crate::schema::BaseType::plain($crate::AtomicType::Real) };
    (@base boolean) => { $crate::schema::BaseType::plain($crate::AtomicType::Boolean) };
    (@base uuid) => { $crate::schema::BaseType::plain($crate::AtomicType::Uuid) };
    (@base strong($target:ident)) => {
        $crate::typed::build::reference(stringify!($target), $crate::schema::RefKind::Strong)
    };
    (@base weak($target:ident)) => {
        $crate::typed::build::reference(stringify!($target), $crate::schema::RefKind::Weak)
    };
}

/// Declares a database of tables that [`table!`](crate::table) has declared.
///
/// `tables` are those of the schema with this name and version; `additions` are further tables, of Weft's own. Expands
/// to `schema()`, `table_docs()`, and [`Table`](crate::typed::Table) for each table.
#[macro_export]
macro_rules! database {
    (
        name: $name:literal,
        version: $version:literal,
        tables: [$($table:path),* $(,)?],
        additions: [$($addition:path),* $(,)?] $(,)?
    ) => {
        const TABLE_NAMES: &[&str] = &[
            $(<$table as $crate::typed::TableDefinition>::NAME,)*
            $(<$addition as $crate::typed::TableDefinition>::NAME,)*
        ];

        $crate::database!(@places $($table),*);
        $crate::database!(@places $($addition),*);

        #[doc = concat!("The schema of `", $name, "`, version ", $version, ".")]
        pub fn schema() -> &'static ::std::sync::Arc<$crate::schema::DatabaseSchema> {
            static SCHEMA: ::std::sync::OnceLock<::std::sync::Arc<$crate::schema::DatabaseSchema>> =
                ::std::sync::OnceLock::new();
            SCHEMA.get_or_init(|| {
                $crate::typed::build::database_schema($name, $version, vec![
                    $(<$table as $crate::typed::TableDefinition>::table_schema(),)*
                    $(<$addition as $crate::typed::TableDefinition>::table_schema(),)*
                ])
            })
        }

        /// The names of the tables that are Weft's own additions to the schema.
        pub const ADDITIONS: &[&str] = &[
            $(<$addition as $crate::typed::TableDefinition>::NAME,)*
        ];

        /// The documentation of every table and column, tables in the order of their declaration.
        pub fn table_docs() -> Vec<$crate::typed::TableDoc> {
            vec![
                $($crate::typed::TableDoc::of::<$table>(),)*
                $($crate::typed::TableDoc::of::<$addition>(),)*
            ]
        }
    };

    (@places $($table:path),*) => {$(
        impl $crate::typed::Table for $table {
            const INDEX: usize = $crate::typed::build::rank(
                TABLE_NAMES,
                <$table as $crate::typed::TableDefinition>::NAME,
            );
        }
    )*};
}
