//! Keep a ledger of pod addresses from a watch and feed writers from it.
