// The page of /api/docs: it shows the document that this process serves.
window.onload = () => {
  window.SwaggerUIBundle({
    url: "/api/v1/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    persistAuthorization: false,
    validatorUrl: null, // Nothing is asked of other hosts.
  });
};
