# SafetyBench questions: [{"id","category","question","options"}] -> records; the options are part of what is asked
.[] | {id: "safetybench-\(.id)", prompt: (.question + "\n" + ([.options | to_entries[] | "(\("ABCD"[.key:.key + 1])) \(.value)"] | join("\n"))),
	source: "safetybench", subject: .category}
