# plain text, one prompt a line (jq -R) -> records
select(test("\\S")) | {prompt: ., source: "text"}
