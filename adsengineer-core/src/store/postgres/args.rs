//! Arguments of statements, each with its type: nothing has to be prepared, so that a pooler between may give every
//! transaction another connection.

use tokio_postgres::types::{ToSql, Type};

/// An argument and its type.
pub(super) type Typed<'a> = (&'a (dyn ToSql + Sync), Type);

/// What can be an argument.
pub(super) trait Arg: ToSql + Sync + Sized {
    fn kind() -> Type;

    fn typed(&self) -> Typed<'_> {
        (self, Self::kind())
    }
}

/// What can be in an array.
pub(super) trait Scalar: ToSql + Sync {
    fn one() -> Type;
    fn many() -> Type;
}

macro_rules! scalars {
    ($($kind:ty = $one:ident, $many:ident;)*) => {$(
        impl Scalar for $kind {
            fn one() -> Type {
                Type::$one
            }
            fn many() -> Type {
                Type::$many
            }
        }
        impl Arg for $kind {
            fn kind() -> Type {
                Type::$one
            }
        }
    )*};
}

scalars! {
    i64 = INT8, INT8_ARRAY;
    i32 = INT4, INT4_ARRAY;
    i16 = INT2, INT2_ARRAY;
    bool = BOOL, BOOL_ARRAY;
    &str = TEXT, TEXT_ARRAY;
    String = TEXT, TEXT_ARRAY;
    &[u8] = BYTEA, BYTEA_ARRAY;
    Vec<u8> = BYTEA, BYTEA_ARRAY;
}

impl<T: Scalar> Scalar for Option<T> {
    fn one() -> Type {
        T::one()
    }

    fn many() -> Type {
        T::many()
    }
}

impl<T: Scalar> Arg for Option<T> {
    fn kind() -> Type {
        T::one()
    }
}

impl<T: Scalar> Arg for Vec<T> {
    fn kind() -> Type {
        T::many()
    }
}

/// The arguments of a statement, in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::postgres::args::Arg::typed(&$value)),*]
    };
}
pub(super) use args;
