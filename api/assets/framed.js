// The portal's page inside its own frame, when a dashboard has lost its session: tells the view around it, which offers to sign in.
if (parent !== window) parent.postMessage({ type: "kyros:expired" }, location.origin);
