"""What tests share: helpers, servers on loopback, emulators of providers, child processes."""
