-- What Argo CD shows of a task: cd .ci && go tool glua ../deploy/gitops/argocd-health-test.lua (Argo CD runs the same Lua).
local health = assert(loadfile("../deploy/gitops/argocd-health.lua"))

local function condition(kind, reason)
  return { type = kind, status = "True", reason = reason, message = "as told" }
end

local cases = {
  { "new", {}, "Progressing", "the operator has not seen it yet" },
  { "defaulted", { observedGeneration = -1 }, "Progressing", "the operator has not seen it yet" },
  { "changed", { observedGeneration = 1, conditions = { condition("Complete", "Succeeded") } }, "Progressing", "the operator has not seen the last change yet" },
  { "waits", { observedGeneration = 2, state = "Waiting", reason = "Error" }, "Progressing", "Waiting: Error" },
  { "runs", { observedGeneration = 2, state = "Running" }, "Progressing", "Running" },
  { "succeeded", { observedGeneration = 2, conditions = { condition("Complete", "Succeeded") } }, "Healthy", "as told" },
  { "failed", { observedGeneration = 2, conditions = { condition("Failed", "RuleFailed"), condition("Stalled", "RuleFailed") } }, "Degraded", "RuleFailed: as told" },
  { "rejected", { observedGeneration = 2, conditions = { condition("Stalled", "PodRejected") } }, "Degraded", "PodRejected: as told" },
  { "suspended", { observedGeneration = 2, conditions = { condition("Suspended", "Suspended") } }, "Suspended", "as told" },
  { "resumed", { observedGeneration = 2, state = "Running", conditions = { { type = "Suspended", status = "False" } } }, "Progressing", "Running" },
}

for _, case in ipairs(cases) do
  obj = { metadata = { generation = 2 }, status = case[2] }
  local found = health()
  assert(found.status == case[3] and found.message == case[4], case[1] .. ": " .. found.status .. ": " .. found.message)
end
obj = { metadata = { generation = 1 } }
assert(health().status == "Progressing")
