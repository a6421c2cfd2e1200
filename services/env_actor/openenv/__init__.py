"""The OpenEnv edge: environments on the wire, one app for all of them. Importing openenv takes seconds: only here."""
