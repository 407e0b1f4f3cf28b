-- The health of a RetryableTask for Argo CD: resource.customizations.health.retryable.dev_RetryableTask of the ConfigMap argocd-cm.
local health = { status = "Progressing", message = "the operator has not seen it yet" }
if obj.status == nil or obj.status.observedGeneration == nil or obj.status.observedGeneration < 0 then
  return health
end
if obj.metadata.generation ~= nil and obj.status.observedGeneration < obj.metadata.generation then
  health.message = "the operator has not seen the last change yet"
  return health
end
local is = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.status == "True" then
    is[condition.type] = condition
  end
end
if is.Complete then
  return { status = "Healthy", message = is.Complete.message }
end
if is.Failed then
  return { status = "Degraded", message = is.Failed.reason .. ": " .. is.Failed.message }
end
if is.Stalled then
  return { status = "Degraded", message = is.Stalled.reason .. ": " .. is.Stalled.message }
end
if is.Suspended then
  return { status = "Suspended", message = is.Suspended.message }
end
local reason = obj.status.reason
health.message = (obj.status.state or "New") .. (reason and (": " .. reason) or "")
return health
