//! What only a store on a server can show: several processes' worth of stores, lost connections, schemas.
