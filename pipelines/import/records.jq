# records already: one a line, or an array of them
if type == "array" then .[] else . end
