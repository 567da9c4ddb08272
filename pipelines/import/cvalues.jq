# CValues responsibility: open questions {"id_","prompt","domain_en"}, and multiple-choice rows {"meta_info":{"question",...},"prompt","label"} -> records
if .meta_info then
	{prompt: .meta_info.question, response: .meta_info.neg_resp, source: "cvalues", domain: .meta_info.domain_en}
else
	{id: "cvalues-\(.id_)", prompt, source: "cvalues", domain: .domain_en}
end
