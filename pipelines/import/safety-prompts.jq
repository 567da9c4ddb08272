# Safety-Prompts (typical_safety_scenarios.json, instruction_attack_scenarios.json): {"TYPE": [{"prompt","response","type"}]} -> records
to_entries[] | .key as $type | .value | to_entries[]
| {id: "safety-prompts-\($type)-\(.key + 1)", prompt: .value.prompt, response: .value.response, source: "safety-prompts", type: $type}
