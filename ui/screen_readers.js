// What screen readers need and Streamlit does not set.
document.documentElement.lang = "$code";
window.uploadLabel = "$upload";
// The button comes and goes with the page; one observer serves all of them.
window.uploadObserver ??= new MutationObserver(() => {
    const buttons = '[data-testid="stFileUploaderDropzone"] button';
    document.querySelectorAll(buttons).forEach((button) => {
        if (button.ariaLabel !== window.uploadLabel) button.ariaLabel = window.uploadLabel;
    });
});
window.uploadObserver.observe(document.body, {childList: true, subtree: true});
