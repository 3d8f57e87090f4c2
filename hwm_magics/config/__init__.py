"""From YAML to validated intent: strict, with lines, everything that is wrong at once.

The modules that need PyYAML (``yaml_loader``) and pydantic (``schema``, ``models``) are imported
where they are used, so that loading the extension stays quick.
"""
