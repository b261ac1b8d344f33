// The portal's page inside its own frame, where a dashboard may not be shown: tells the view around it, which asks why and says it.
if (parent !== window) parent.postMessage({ type: "kyros:expired" }, location.origin);
