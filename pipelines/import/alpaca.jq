# alpaca: [{"instruction","input","output"}] or one a line -> records
(if type == "array" then .[] else . end)
| {prompt: (.instruction + (if (.input // "") == "" then "" else "\n" + .input end)), response: .output, source: "alpaca"}
