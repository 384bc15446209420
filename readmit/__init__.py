"""What several parts share: settings, contract, derivation, inference, client, raw loading."""
