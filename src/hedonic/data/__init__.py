"""From a source to rows that training may use: contract, rules, snapshot, validation, split."""
